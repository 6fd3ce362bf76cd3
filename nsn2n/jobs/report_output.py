# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the quality report of a series next to it, under its UIDs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import has_burned_in_text, series_number, text
from nsn2n.dicom.write.series_writer import WrittenSeries
from nsn2n.errors import NSN2NError
from nsn2n.jobs.outcomes import warned
from nsn2n.runtime.modes import limit_modes_in, mode_of_all
from nsn2n.runtime.unfinished import hidden_folder, remove_abandoned

if TYPE_CHECKING:
    from nsn2n.report import ReportData

__all__ = ["REPORTS", "VIEWER", "write_quality_report"]

logger = logging.getLogger(__name__)

REPORTS = "reports"
"""Folder of the reports in the output folder: the folders of series hold only DICOM files."""
VIEWER = "viewer.html"
"""Next to the report, if requested."""


def write_quality_report(
    output_folder: Path | str, data: ReportData, written: WrittenSeries, source_series_uid: str
) -> Path | None:
    """Write the report of a series as ``reports/<its SeriesInstanceUID>/report.html`` and ``report.json``.

    ``viewer.html`` is written next to them if the data have its volumes, and no slice has text in its pixels.

    Parameters
    ----------
    output_folder : path
    data : ReportData
    written : WrittenSeries
    source_series_uid : str
        SeriesInstanceUID of the source.

    Returns
    -------
    Path or None
        The page; None if it could not be written, which is logged as a warning: the series is complete.
    """
    from nsn2n.report import write_report

    page: Path | None = None
    with warned("its report"):
        header = _header(written.files[0])
        keywords = ("Modality", "StudyInstanceUID", "FrameOfReferenceUID")
        of_study = {keyword: text(header, keyword) for keyword in keywords}
        # The new series copies what the source states about its pixels.
        pictures = not any(has_burned_in_text(_header(file)) for file in written.files)
        if data.volumes is not None and not pictures:
            logger.warning(
                "series %s: the viewer must show no text that may identify the patient; BurnedInAnnotation (0028,0301)"
                " is YES. No viewer.html is written; look at the series in your own viewer.",
                written.SeriesInstanceUID,
            )
        with _reports_folder(Path(output_folder) / REPORTS) as (reports, hidden):
            written_page = write_report(
                hidden,
                data,
                source={**of_study, "SeriesInstanceUID": source_series_uid},
                derived={
                    "SeriesInstanceUID": written.SeriesInstanceUID,
                    "SeriesNumber": series_number(header),
                    "TransferSyntaxUID": text(header.file_meta, "TransferSyntaxUID"),
                    "clipped_voxels": written.clipped_voxels,
                },
                pictures=pictures,
                mode=mode_of_all(written.files),
            )
            limit_modes_in(hidden, written.files)
            page = hidden.rename(reports / written.SeriesInstanceUID) / written_page.name
        logger.info("report: %s", page)
    return page


@contextmanager
def _reports_folder(reports: Path) -> Iterator[tuple[Path, Path]]:
    """Create a hidden folder for a report: its files appear all at once, and a killed run leaves none."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        remove_abandoned(reports)
        with hidden_folder(reports) as hidden:
            yield reports, hidden
    except OSError as error:
        raise NSN2NError(
            f"the folder of the report must be writable; got {error.strerror or type(error).__name__} at "
            f"{reports}. Free some space, or turn reports off."
        ) from error


def _header(file: Path) -> Dataset:
    return pydicom.dcmread(file, stop_before_pixels=True)
