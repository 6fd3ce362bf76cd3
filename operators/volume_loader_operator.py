# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads a selected DICOM series as one volume."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Image, Operator, OperatorSpec
from monai.deploy.core.domain.dicom_series import DICOMSeries
from monai.deploy.core.domain.dicom_series_selection import SelectedSeries, StudySelectedSeries

from nsn2n.dicom.attributes import refusal, text
from nsn2n.dicom.headers import read_header
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import load_series
from nsn2n.jobs.outcomes import ErrorHandler, series_errors
from nsn2n.operators.image_metadata import SERIES_NUMBERS, SOURCE_FILES, sdk_metadata, series_label
from nsn2n.runtime.sizes import size_in_bytes
from nsn2n.runtime.volumes import memory_limit

__all__ = ["VolumeLoaderOperator", "load_image"]


class VolumeLoaderOperator(Operator):
    """Reads the files of a selected series as a float32 volume with its geometry.

    Does what the SDK's ``DICOMSeriesToVolumeOperator`` does, but refuses what that one would get wrong: the
    type of the values does not depend on the first slice, unequal pixel spacings are not swapped, and no
    slice is left out.

    Named input:
        study_selected_series_list: list of one StudySelectedSeries with one SelectedSeries, from
            `DICOMSeriesSelectionOperator` or from the SDK's selector. The native datasets must come from
            files.

    Named output:
        image: Image, float32, shape (D, H, W), slices in geometric order, in units of the modality (HU in
            CT). Metadata: the keys of the SDK's operator (spacings in mm, affine in RAS, ...), and
            ``source_files``, ``series_numbers_in_study`` and ``slice_stack``, the `nsn2n.SliceStack` with padding,
            parts and tilt (`nsn2n.operators.image_metadata`). A series with gaps, or of several volumes, has no
            ``depth_pixel_spacing`` and no affines.
    """

    INPUT_SERIES = "study_selected_series_list"
    OUTPUT_IMAGE = "image"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        refuse_gaps: bool = False,
        memory: str | None = None,
        on_error: ErrorHandler | None = None,
        **kwargs: Any,
    ) -> None:
        """Store what to do with a series that is refused.

        Parameters
        ----------
        fragment : Fragment
        refuse_gaps : bool
            Refuse a series with missing or unevenly spaced slices, instead of processing it in parts.
        memory : str, optional
            Memory limit, as that of `nsn2n.jobs.options.JobOptions`.
        on_error : callable, optional
            Called with the label of a series that is not a volume and the error, instead of ending the graph.
        """
        self.refuse_gaps = refuse_gaps
        self.memory_bytes = None if memory is None else size_in_bytes(memory)
        self.on_error = on_error
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input(self.INPUT_SERIES)
        spec.output(self.OUTPUT_IMAGE)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive a series, emit its volume."""
        message = op_input.receive(self.INPUT_SERIES)
        with series_errors(_label(message), self.on_error), memory_limit(self.memory_bytes):
            op_output.emit(load_image(message, refuse_gaps=self.refuse_gaps), self.OUTPUT_IMAGE)


def load_image(study_selected_series_list: Sequence[StudySelectedSeries], *, refuse_gaps: bool = False) -> Image:
    """Read the one series of a selector's message; `refuse_gaps` as for `nsn2n.jobs.dicom_job.load_series`.

    Raises
    ------
    DicomError
        If the message holds no series or several, slices are missing, or the series is not a volume that the
        reader accepts (`nsn2n.dicom.read.series_reader.read_series`).
    """
    selected = _selected_series(study_selected_series_list)
    if len(selected) != 1:
        raise DicomError(
            f"a message to the volume loader must hold one series; got {len(selected)}. Let the selector"
            " choose exactly one, or use DICOMSeriesSelectionOperator, which sends them one by one."
        )
    files = selected[0].metadata().get(SOURCE_FILES) or _files_of_datasets(selected[0].series)
    series = load_series(files, refuse_gaps=refuse_gaps)
    metadata = sdk_metadata(series, selection_name=selected[0].selection_name)
    metadata[SERIES_NUMBERS] = selected[0].metadata().get(SERIES_NUMBERS) or sorted(
        other.SeriesNumber
        for other in study_selected_series_list[0].study.get_all_series()
        if other.SeriesNumber is not None
    )
    return Image(series.stack.values, metadata)


def _selected_series(message: Sequence[StudySelectedSeries]) -> list[SelectedSeries]:
    return [selected for study in message or () for selected in study.selected_series]


def _label(message: Sequence[StudySelectedSeries]) -> str:
    selected = _selected_series(message)
    if len(selected) != 1:
        return f"message of {len(selected)} series"
    series = selected[0].series
    keys = ("Modality", "SeriesNumber", "SeriesDescription", "SeriesInstanceUID")
    return series_label({key: getattr(series, key) for key in keys})


def _files_of_datasets(series: DICOMSeries) -> list[Path]:
    """Return all files of a series that the SDK's loader read.

    That loader silently drops slices: of those at one position, of another acquisition for example, it
    keeps one. So the files next to the given ones are examined too.
    """
    datasets = [sop.get_native_sop_instance() for sop in series.get_sop_instances()]
    given = {Path(name).resolve() for name in (getattr(d, "filename", None) for d in datasets) if name}
    if not given or len(given) != len(datasets):
        raise refusal(
            "each dataset must have the name of its file; got one that does not",
            "Read the series from files.",
            series_uid=series.SeriesInstanceUID,
        )
    there = {
        path.resolve()
        for folder in {path.parent for path in given}
        for record in scan_folder(folder).series
        if record.SeriesInstanceUID == series.SeriesInstanceUID
        for path in record.files
    }
    known = {text(dataset, "SOPInstanceUID") for dataset in datasets}
    dropped = [p for p in sorted(there - given) if text(read_header(p), "SOPInstanceUID") not in known]
    if dropped:
        raise refusal(
            f"a series must come with all its slices; {len(dropped)} of {len(there)} were dropped earlier",
            "Keep one image per position, or use DICOMSeriesSelectionOperator.",
            path=dropped[0],
            series_uid=series.SeriesInstanceUID,
        )
    return sorted(given | there)  # the reader handles copies of a file
