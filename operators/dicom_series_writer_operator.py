# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes an image as a DICOM series derived from its source."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.core import ConditionType, Fragment, Image, Operator, OperatorSpec

from nsn2n.dicom.write.series_writer import WrittenSeries
from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import write_denoised
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import ErrorHandler, series_errors
from nsn2n.operators.image_metadata import RECORD, SERIES_NUMBERS, SOURCE_FILES, series_label

__all__ = ["DICOMSeriesWriterOperator", "write_image"]


class DICOMSeriesWriterOperator(Operator):
    """Writes each image as a new series of the study of its source, checked before it gets its name.

    All that it needs is in the image, so that pixels and headers of two series cannot be mixed up.

    Named input:
        image: Image, shape (D, H, W), in units of the modality. Metadata needed: ``source_files`` (the DICOM
            file of each slice, in order) and ``nsn2n`` (dict whose ``summary`` says what was done); used if
            there: ``series_numbers_in_study``.

    Named output:
        series_folder: Path of the folder with the new series. A receiver is optional.
        written_series: tuple of WrittenSeries and the metadata of its image, for what reports on it. A receiver
            is optional.
    """

    INPUT_IMAGE = "image"
    OUTPUT_FOLDER = "series_folder"
    OUTPUT_WRITTEN = "written_series"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        output_folder: Path | str,
        options: JobOptions | None = None,
        on_error: ErrorHandler | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the choices; the folder is made when the first series is written.

        Parameters
        ----------
        fragment : Fragment
        output_folder : path
            Gets a subfolder for each series, named by its new SeriesInstanceUID.
        options : JobOptions, optional
            Those for output and companion objects are used.
        on_error : callable, optional
            Called with the label of a series that cannot be written and the error, instead of ending the
            graph.
        """
        self.output_folder = Path(output_folder)
        self.options = options or JobOptions()
        self.on_error = on_error
        self.written: list[WrittenSeries] = []
        self._series_numbers: dict[str, set[int]] = {}
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input(self.INPUT_IMAGE)
        spec.output(self.OUTPUT_FOLDER).condition(ConditionType.NONE)
        spec.output(self.OUTPUT_WRITTEN).condition(ConditionType.NONE)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive an image, write it, emit the folder."""
        image = op_input.receive(self.INPUT_IMAGE)
        metadata = image.metadata()
        numbers = self._series_numbers.setdefault(str(metadata.get("StudyInstanceUID")), set())
        with series_errors(series_label(metadata), self.on_error):
            series = write_image(image, self.output_folder, self.options, series_numbers=numbers)
            self.written.append(series)
            op_output.emit(series.folder, self.OUTPUT_FOLDER)
            op_output.emit((series, metadata), self.OUTPUT_WRITTEN)


def write_image(
    image: Image,
    output_folder: Path | str,
    options: JobOptions | None = None,
    *,
    series_numbers: set[int] | None = None,
) -> WrittenSeries:
    """Write an image as `DICOMSeriesWriterOperator` does.

    Parameters
    ----------
    image : Image
    output_folder : path
    options : JobOptions, optional
    series_numbers : set of int, optional
        Numbers in use in addition to those in the metadata; all that are in use afterwards are added.

    Raises
    ------
    DicomError, VolumeError, SettingsError
        If the metadata lacks a key; otherwise those of `nsn2n.jobs.dicom_job.write_denoised`.
    """
    metadata = image.metadata()
    source_files, record = metadata.get(SOURCE_FILES), metadata.get(RECORD)
    if not source_files or not record or not record.get("summary"):
        raise DicomError(
            f"an image to write must have the metadata {SOURCE_FILES} and {RECORD} with its summary; got"
            f" {', '.join(sorted(map(str, metadata))) or 'none'} [{series_label(metadata)}]. Read it with"
            " VolumeLoaderOperator and denoise it with NSN2NDenoiseOperator."
        )
    numbers = set() if series_numbers is None else series_numbers
    numbers.update(metadata.get(SERIES_NUMBERS, ()))
    return write_denoised(
        image.asnumpy(),
        record,
        source_files,
        Path(output_folder),
        options or JobOptions(),
        numbers,
        series_label(metadata),
    )
