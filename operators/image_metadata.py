# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The metadata of an SDK ``Image``: keys that the operators share, and the conversion between series and images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from monai.deploy.core import Image

from nsn2n._aliases import Spacing
from nsn2n.dicom.attributes import series_number, text
from nsn2n.dicom.read.series_reader import SeriesVolume
from nsn2n.modality import Modality
from nsn2n.stack.slice_stack import SliceStack

__all__ = [
    "RECORD",
    "REPORT",
    "SERIES_NUMBERS",
    "SOURCE_FILES",
    "STACK",
    "known_modality",
    "sdk_metadata",
    "series_label",
    "spacing_mm",
    "stack_of",
]

SOURCE_FILES = "source_files"
"""List of str: the DICOM file of each slice, in slice order."""

STACK = "slice_stack"
"""`SliceStack`: padding, parts and tilt of the volume, with its values; absent in images of other operators."""

SERIES_NUMBERS = "series_numbers_in_study"
"""Sorted list of int: series numbers of the study that are in use, which a new series must not take."""

RECORD = "nsn2n"
"""dict of plain values: settings, seed and measurements of the denoising; ``summary`` is one line of text."""

REPORT = "nsn2n_report"
"""`nsn2n.report.ReportData`: the data of a quality report; absent unless requested."""

_KEYWORDS = (
    *("SeriesDate", "SeriesTime", "Modality", "SeriesDescription", "BodyPartExamined", "PatientPosition"),
    *("Laterality", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    *("SeriesInstanceUID", "StudyInstanceUID"),
)


def stack_of(image: Image) -> SliceStack:
    """Return the volume of an image: its values, with the facts in its metadata.

    Raises
    ------
    VolumeError
        If the image is not a volume, or was cropped or resampled after its stack was created.
    """
    metadata = image.metadata()
    carried = metadata.get(STACK)
    if isinstance(carried, SliceStack):
        return carried.with_values(image.asnumpy())
    return SliceStack.of(image.asnumpy(), spacing_mm=spacing_mm(metadata), modality=known_modality(metadata))


def sdk_metadata(series: SeriesVolume, *, selection_name: str = "") -> dict[str, Any]:
    """Return metadata as the MONAI Deploy SDK's ``DICOMSeriesToVolumeOperator`` gives it to an ``Image``.

    Same keys and types, but correct geometry: the SDK swaps the two values of PixelSpacing in its affines and
    takes BodyPartExamined from another tag. Two additional keys: ``source_files``, the file of each slice in order, and
    ``slice_stack``. A series of several parts has no ``depth_pixel_spacing`` and no affines, since none is valid for
    all of it.

    Parameters
    ----------
    series : SeriesVolume
    selection_name : str
        Name of the rule that matched the series.

    Returns
    -------
    dict
        ``affine`` is that of RAS (key ``space``), from (column, row, slice) indices to mm.
    """
    header, (grid, *others) = series.headers[0], series.geometry.parts
    metadata: dict[str, Any] = {keyword: text(header, keyword) for keyword in _KEYWORDS if keyword in header}
    number = series_number(header)
    if number is not None:
        metadata["SeriesNumber"] = number
    depth_mm, between_rows_mm, between_columns_mm = grid.spacing_mm
    metadata |= {
        "row_pixel_spacing": between_rows_mm,
        "col_pixel_spacing": between_columns_mm,
        "row_direction_cosine": list(grid.row_direction),
        "col_direction_cosine": list(grid.column_direction),
        "depth_direction_cosine": [float(value) for value in np.cross(grid.row_direction, grid.column_direction)],
        "selection_name": selection_name,
        SOURCE_FILES: [str(path) for path in series.files],
        STACK: series.stack,
    }
    if others:
        return metadata
    return metadata | {
        "depth_pixel_spacing": depth_mm,
        "dicom_affine_transform": grid.affine_lps,
        "nifti_affine_transform": grid.affine_ras,
        "affine": grid.affine_ras,
        "space": "RAS",
    }


def spacing_mm(metadata: Mapping[str, Any]) -> Spacing | None:
    """Distances (dz, dy, dx) between slices, rows and columns in mm; None unless all are positive numbers.

    The SDK's names mislead: ``row_pixel_spacing`` is the first value of PixelSpacing, from row to row.
    """
    found = [metadata.get(f"{axis}_pixel_spacing") for axis in ("depth", "row", "col")]
    if any(value is None for value in found):
        return None
    depth, row, column = (float(value) for value in found)  # type: ignore[arg-type]
    valid = all(math.isfinite(value) and value > 0 for value in (depth, row, column))
    return (depth, row, column) if valid else None


def known_modality(metadata: Mapping[str, Any]) -> Modality | None:
    """Return the modality of an image; None if it cannot be denoised, or is absent."""
    modality = str(metadata.get("Modality") or "").strip().upper()
    return Modality(modality) if modality in set(Modality) else None


def series_label(metadata: Mapping[str, Any]) -> str:
    """Return the name of the series of an image in messages, without patient data."""
    number = metadata.get("SeriesNumber")
    return (
        f"{metadata.get('Modality') or '?'} series {'without number' if number is None else number} "
        f'"{metadata.get("SeriesDescription") or ""}" ({metadata.get("SeriesInstanceUID") or "no UID"})'
    )
