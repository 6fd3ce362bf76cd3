# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Puts the quality report of a series beside it, under its UIDs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import has_burned_in_text, series_number, text
from nsn2n.dicom.write.series_writer import WrittenSeries
from nsn2n.jobs.outcomes import warned
from nsn2n.runtime.modes import mode_of_all

if TYPE_CHECKING:
    from nsn2n.report import ReportData

__all__ = ["REPORTS", "write_quality_report"]

logger = logging.getLogger(__name__)

REPORTS = "reports"
"""Folder of the reports in the output folder: the folders of series hold nothing but DICOM files."""


def write_quality_report(
    output_folder: Path | str, data: ReportData, written: WrittenSeries, source_series_uid: str
) -> Path | None:
    """Write the report of a series as ``reports/<its SeriesInstanceUID>/report.html`` and ``report.json``.

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
        page = write_report(
            Path(output_folder) / REPORTS / written.SeriesInstanceUID,
            data,
            source={**of_study, "SeriesInstanceUID": source_series_uid},
            derived={
                "SeriesInstanceUID": written.SeriesInstanceUID,
                "SeriesNumber": series_number(header),
                "TransferSyntaxUID": text(header.file_meta, "TransferSyntaxUID"),
                "clipped_voxels": written.clipped_voxels,
            },
            # What a source says of its pixels, the new series says too.
            pictures=not any(has_burned_in_text(_header(file)) for file in written.files),
            mode=mode_of_all(written.files),
        )
        logger.info("report: %s", page)
    return page


def _header(file: Path) -> Dataset:
    return pydicom.dcmread(file, stop_before_pixels=True)
