# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series numbers of new series, which independent workers must not assign twice in a study."""

from __future__ import annotations

from nsn2n.batch.series_list import SeriesList
from nsn2n.jobs.options import JobOptions

__all__ = ["taken_numbers"]

_MAPS = 2
"""Maximum number of parametric maps of a series: the noise removed, and the contrast retention."""


def taken_numbers(found: SeriesList, options: JobOptions) -> dict[str, frozenset[int]]:
    """Return for each series the numbers that the new one may not take, so that no two of a study are the same.

    Workers are independent of each other. So each number is assigned here, in the order of the list: each new series
    gets the one that it would get if all were denoised in sequence.

    Parameters
    ----------
    found : SeriesList
    options : JobOptions
    """
    at_most = 1 + _MAPS * options.parametric_map + options.structured_report
    reserved: dict[str, dict[str, set[int]]] = {}
    for series in found.series:
        of_study = reserved.setdefault(series.StudyInstanceUID, {})
        taken = found.numbers.get(series.StudyInstanceUID, set()).union(*of_study.values())
        number = (series.SeriesNumber or 0) + options.series_number_offset
        own: set[int] = set()
        while len(own) < at_most:
            if number not in taken:
                own.add(number)
            number += 1
        of_study[series.SeriesInstanceUID] = own
    taken_by_series: dict[str, frozenset[int]] = {}
    for study, of_study in reserved.items():
        everything = found.numbers.get(study, set()).union(*of_study.values())
        taken_by_series |= {uid: frozenset(everything - own) for uid, own in of_study.items()}
    return taken_by_series
