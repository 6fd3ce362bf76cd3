# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes what a PACS can hold together with a derived series: the removed noise and the measurements, one series each.

Each is either complete or absent, like the series of images (`nsn2n.dicom.write.series_writer`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pydicom
from pydicom.dataset import Dataset

from nsn2n._version import __version__
from nsn2n.dicom.attributes import PARSE_ERRORS, series_number
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.numbering import claimed_series
from nsn2n.dicom.write.series_writer import WrittenSeries
from nsn2n.errors import DicomError
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import warned
from nsn2n.runtime.modes import limit_modes_in

__all__ = ["write_companions"]

logger = logging.getLogger(__name__)


def write_companions(
    output_folder: Path | str,
    written: WrittenSeries,
    source_files: Sequence[Path | str],
    record: Mapping[str, Any],
    options: JobOptions,
    taken_series_numbers: Collection[int] = (),
) -> tuple[WrittenSeries, ...]:
    """Write the objects requested by the options, each into a subfolder named by its SeriesInstanceUID.

    Parameters
    ----------
    output_folder : path
    written : WrittenSeries
        The derived series.
    source_files : sequence of path
        The source of each of its slices.
    record : mapping
        As `nsn2n.DenoiseResult.record` gives it.
    options : JobOptions
    taken_series_numbers : collection of int
        Numbers in use in the study, in addition to those in the output folder.

    Returns
    -------
    tuple of WrittenSeries
        Without what could not be written, which is logged as a warning: the series of images is complete.
    """
    sources = [Path(file) for file in source_files]
    makers: dict[str, Callable[[DerivedSeries], Dataset]] = {}
    if options.parametric_map:
        from nsn2n.dicom.write.removed_map import removed_map  # highdicom takes a second to import

        makers["PM0001.dcm"] = lambda series: removed_map(sources, written.files, series, __version__)
        if (record.get("contrast_kept") or {"maps": []})["maps"]:
            from nsn2n.dicom.write.kept_map import kept_map

            makers["PM0002.dcm"] = lambda series: kept_map(sources, written.files, record, series, __version__)
    if options.structured_report:
        from nsn2n.dicom.write.measurement_report import measurement_report

        makers["SR0001.dcm"] = lambda series: measurement_report(sources, written.files, record, series, __version__)
    header = pydicom.dcmread(written.files[0], stop_before_pixels=True)
    # The numbers following that of the derived series.
    derivation = Derivation(description="-", software_version=__version__, series_number_offset=1)
    companions = []
    for name, make in makers.items():
        with warned(name):
            companions.append(
                _write(Path(output_folder), name, make, header, derivation, taken_series_numbers, sources)
            )
    return tuple(companions)


def _write(
    output: Path,
    name: str,
    make: Callable[[DerivedSeries], Dataset],
    header: Dataset,
    derivation: Derivation,
    taken_series_numbers: Collection[int],
    sources: Sequence[Path],
) -> WrittenSeries:
    try:
        with claimed_series(output, header, derivation, taken_series_numbers) as (series, hidden):
            _made(make, series, name).save_as(hidden / name, enforce_file_format=True)
            _check(hidden / name, series)
            folder = output / series.SeriesInstanceUID
            limit_modes_in(hidden, sources)
            hidden.rename(folder)
    except OSError as error:
        system = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise DicomError(
            f"the output folder must be writable and have free space; got {system.strerror or type(system).__name__} at"
            f" {output}. Free some space and run again."
        ) from error
    logger.info("wrote %s", folder / name)
    return WrittenSeries(folder, series.SeriesInstanceUID, series.SeriesNumber, (folder / name,), 0, 0)


def _made(make: Callable[[DerivedSeries], Dataset], series: DerivedSeries, name: str) -> Dataset:
    try:
        return make(series)
    except PARSE_ERRORS as error:
        # Its message may quote a birth date, so only its type is reported.
        raise DicomError(
            f"the source must have valid attributes for {name}; its patient, study or equipment has an invalid one"
            f" ({type(error).__name__}). Correct it, or leave this object out."
        ) from error


def _check(file: Path, series: DerivedSeries) -> None:
    """Read the header back."""
    found = pydicom.dcmread(file, stop_before_pixels=True)
    if (found.SeriesInstanceUID, series_number(found)) != (series.SeriesInstanceUID, series.SeriesNumber):
        raise DicomError(
            f"a written file must contain what was to be written; {file.name} does not. Please report this."
        )
