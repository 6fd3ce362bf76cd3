# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads one CT, MR or PET series, single-frame or enhanced, as a float32 volume with its geometry.

Two passes: the headers of all slices, which are checked and put in order; then the pixels, into one array.
Nothing about the volume is inferred from its first slice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import series_number, text
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.pixels.stored_pixels import read_stored
from nsn2n.dicom.read.geometry import SeriesGeometry
from nsn2n.dicom.read.slice_sorting import plan_series

__all__ = ["SeriesVolume", "read_series", "sdk_metadata"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """A series in memory: its slices in geometric order, part by part."""

    volume_dhw: NDArray[np.float32] = field(repr=False)
    """Shape (D, H, W), in units of the modality (HU in CT, Units in PET); padded pixels keep their values."""
    geometry: SeriesGeometry
    files: tuple[Path, ...] = field(repr=False)
    """Source file of each slice; an enhanced image is there for each of its frames."""
    headers: tuple[Dataset, ...] = field(repr=False)
    """All attributes but the pixels, of each slice; for a frame those of its image and of the frame, laid out flat."""
    padding_mask_dhw: NDArray[np.bool_] | None = field(repr=False)
    """True where a pixel is padding (PixelPaddingValue); None if none is."""
    warnings: tuple[str, ...] = ()
    """What was remarkable about the series, one line each."""

    @property
    def parts(self) -> tuple[int, ...]:
        """Slices of each evenly spaced part; no two parts are neighbors."""
        return self.geometry.slice_counts

    @property
    def modality(self) -> str:
        """CT, MR or PT (PET)."""
        return text(self.headers[0], "Modality")

    @property
    def StudyInstanceUID(self) -> str:  # noqa: N802 - the DICOM keyword
        """Of the source."""
        return text(self.headers[0], "StudyInstanceUID")

    @property
    def SeriesInstanceUID(self) -> str:  # noqa: N802 - the DICOM keyword
        """Of the source."""
        return text(self.headers[0], "SeriesInstanceUID")


def read_series(
    files: Sequence[Path], *, allow_own_output: bool = False, refuse_gaps: bool = False, limits: Limits | None = None
) -> SeriesVolume:
    """Read the files of one series.

    Parameters
    ----------
    files : sequence of Path
        All files of the series, in any order. A file that is there twice, byte by byte, is used once.
    allow_own_output : bool
        Accept a series that this program wrote, which is already denoised.
    refuse_gaps : bool
        Refuse a series of which slices are missing or unevenly spaced, in place of denoising its even runs apart.
    limits : Limits, optional
        What is refused before it takes time or memory.

    Raises
    ------
    DicomError
        If a file, the series or its grid breaks a rule (see `nsn2n.dicom.slice_facts`,
        `nsn2n.dicom.pixels.pixel_format` and `nsn2n.dicom.read.geometry`), or memory does not suffice.
    """
    plan = plan_series(files, allow_own_output=allow_own_output, refuse_gaps=refuse_gaps, limits=limits)
    slices, geometry = plan.slices, plan.geometry
    plan.log()
    volume_dhw = np.empty(geometry.shape_dhw, dtype=np.float32)
    mask_dhw = np.zeros(geometry.shape_dhw, dtype=bool)
    for index, stored_hw in read_stored(slices):
        volume_dhw[index] = slices[index].pixels.to_values(stored_hw)
        mask_dhw[index] = slices[index].pixels.is_padding(stored_hw)
    padded = int(np.count_nonzero(mask_dhw))
    logger.info(
        "read series %s: %s voxels in %d parts, %d padded",
        text(slices[0].header, "SeriesInstanceUID"),
        " x ".join(map(str, geometry.shape_dhw)),
        len(geometry.parts),
        padded,
    )
    return SeriesVolume(
        volume_dhw=volume_dhw,
        geometry=geometry,
        files=tuple(facts.path for facts in slices),
        headers=tuple(facts.header for facts in slices),
        padding_mask_dhw=mask_dhw if padded else None,
        warnings=plan.warnings,
    )


def sdk_metadata(series: SeriesVolume, *, selection_name: str = "") -> dict[str, Any]:
    """Metadata as the MONAI Deploy SDK's ``DICOMSeriesToVolumeOperator`` gives it to an ``Image``.

    Same keys and types, but right geometry: the SDK swaps the two values of PixelSpacing in its affines and
    takes BodyPartExamined from another tag. One key more, ``source_files``: the file of each slice in order.
    A series of several parts has ``parts`` (slices of each) and ``part_spacings_mm`` in place of
    ``depth_pixel_spacing`` and the affines, since no one is right for all of it. A sheared one (gantry tilt) has
    ``part_shears_px``, (rows, columns) by which the slices of each part lie displaced.

    Parameters
    ----------
    series : SeriesVolume
    selection_name : str
        Name of the rule that took the series.

    Returns
    -------
    dict
        ``affine`` is that of RAS (key ``space``), from (column, row, slice) indices to mm.
    """
    header, (grid, *others) = series.headers[0], series.geometry.parts
    keywords = (
        *("SeriesDate", "SeriesTime", "Modality", "SeriesDescription", "BodyPartExamined", "PatientPosition"),
        *("Laterality", "StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber"),
    )
    metadata: dict[str, Any] = {keyword: text(header, keyword) for keyword in keywords if keyword in header}
    metadata["SeriesInstanceUID"] = series.SeriesInstanceUID
    metadata["StudyInstanceUID"] = series.StudyInstanceUID
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
        "source_files": [str(path) for path in series.files],
    }
    if any(part.is_sheared for part in series.geometry.parts):
        metadata["part_shears_px"] = [list(shear_px) for shear_px in series.geometry.shears_px]
    if others:
        metadata["parts"] = list(series.parts)
        metadata["part_spacings_mm"] = [list(spacing_mm) for spacing_mm in series.geometry.spacings_mm]
        return metadata
    return metadata | {
        "depth_pixel_spacing": depth_mm,
        "dicom_affine_transform": grid.affine_lps,
        "nifti_affine_transform": grid.affine_ras,
        "affine": grid.affine_ras,
        "space": "RAS",
    }
