# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series numbers that are new in the study, considering earlier and concurrent runs in the same output folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError

from nsn2n.dicom.attributes import PARSE_ERRORS, series_number, text
from nsn2n.dicom.headers import read_attributes
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.derive import DerivedSeries, new_series
from nsn2n.errors import DicomError
from nsn2n.runtime.unfinished import PREFIX, hidden_folder, remove_abandoned

__all__ = ["claimed_series", "numbers_in"]


@contextmanager
def claimed_series(
    output: Path, source: Dataset, derivation: Derivation, taken_series_numbers: Collection[int] = ()
) -> Iterator[tuple[DerivedSeries, Path]]:
    """Choose UID and number of a derived series, and create the hidden folder that it is written to.

    The name of that folder reserves the number until the series is complete.

    Parameters
    ----------
    output : path
        An existing folder. Hidden folders that a stopped run left there are removed.
    source : Dataset
        Header of any slice of the source.
    derivation : Derivation
    taken_series_numbers : collection of int
        Numbers in use in the study, in addition to those in `output`.
    """
    remove_abandoned(output)
    study_uid = text(source, "StudyInstanceUID")
    study = f"{hashlib.sha256(study_uid.encode()).hexdigest()[:12]}_"
    chosen: list[DerivedSeries] = []

    def label() -> str:
        # Hidden folders first: one that is finished in between is seen twice rather than missed.
        claimed = _claimed_numbers(output, study)
        chosen.append(new_series(source, derivation, {*taken_series_numbers, *claimed, *numbers_in(output, study_uid)}))
        return f"{study}{chosen[-1].SeriesNumber}_"

    with hidden_folder(output, label) as hidden:
        yield chosen[-1], hidden


def _claimed_numbers(output: Path, study: str) -> set[int]:
    """Return numbers in the names of hidden folders; unrelated folders may have such names by chance."""
    names = (
        re.fullmatch(rf"{re.escape(PREFIX + study)}(-?\d{{1,12}})_[0-9a-f]+", path.name) for path in output.iterdir()
    )
    return {int(name[1]) for name in names if name is not None}


def numbers_in(output: Path, study_uid: str) -> set[int]:
    """Numbers of the series of a study that are in the subfolders of a folder, one series in each."""
    headers = (_header(file) for file in map(_any_file, output.iterdir()) if file is not None)
    numbers = (series_number(header) for header in headers if text(header, "StudyInstanceUID") == study_uid)
    return {number for number in numbers if number is not None}


def _any_file(folder: Path) -> Path | None:
    hidden = folder.name.startswith(".")
    return None if hidden or not folder.is_dir() else next(folder.glob("*.dcm"), None)


def _header(file: Path) -> Dataset:
    """Return the required part of a header; empty if the file cannot be read, which is reported elsewhere."""
    try:
        return read_attributes(file, ("StudyInstanceUID", "SeriesNumber"), Limits())
    except (DicomError, OSError, InvalidDicomError, *PARSE_ERRORS):
        return Dataset()
