# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads one single-frame CT, MR or PET series as a float32 volume with its geometry.

Two passes: the headers of all slices, which are checked and put in order; then the pixels, into one array.
Nothing about the volume is inferred from its first slice.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import PARSE_ERRORS, refusal, series_number, text
from nsn2n.dicom.checks import SliceFacts, check_same_series, check_slice
from nsn2n.dicom.geometry import Verdict, VolumeGeometry, arrange_slices
from nsn2n.dicom.pixels import PIXEL_TAGS, embedded_overlay_groups, stored_values
from nsn2n.dicom.scan import read_header
from nsn2n.errors import DicomError

__all__ = ["SeriesVolume", "inspect_series", "plan_series", "read_series", "sdk_metadata"]

logger = logging.getLogger(__name__)

BYTES_PER_VOXEL = 5
"""float32 value and padding mask."""

NEXT_STEPS = {
    Verdict.SHEARED: "Series with gantry tilt are not supported yet.",
    Verdict.VARIABLE: "Series with uneven spacing are not supported yet.",
    Verdict.GAP: "Copy the missing slices too; a gap is never filled.",
    Verdict.MULTI_VOLUME: "Split the series into single volumes first.",
    Verdict.SINGLE_SLICE: "At least 2 slices are needed.",
}


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """A series in memory, slices in geometric order."""

    volume_dhw: NDArray[np.float32] = field(repr=False)
    """Shape (D, H, W), in units of the modality (HU in CT, Units in PET); padded pixels keep their values."""
    geometry: VolumeGeometry
    files: tuple[Path, ...] = field(repr=False)
    """Source file of each slice."""
    headers: tuple[Dataset, ...] = field(repr=False)
    """All attributes but the pixels, of each slice."""
    padding_mask_dhw: NDArray[np.bool_] | None = field(repr=False)
    """True where a pixel is padding (PixelPaddingValue); None if none is."""

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


def inspect_series(files: Sequence[Path], *, allow_own_output: bool = False) -> VolumeGeometry:
    """Check everything about a series that headers tell.

    Parameters and errors are those of `read_series`; pixels are not read.
    """
    return plan_series(files, allow_own_output=allow_own_output)[1]


def read_series(files: Sequence[Path], *, allow_own_output: bool = False) -> SeriesVolume:
    """Read the files of one series.

    Parameters
    ----------
    files : sequence of Path
        All files of the series, in any order. A file that is there twice, byte by byte, is used once.
    allow_own_output : bool
        Accept a series that this program wrote, which is already denoised.

    Raises
    ------
    DicomError
        If a file, the series or its grid breaks a rule (see `nsn2n.dicom.checks`, `nsn2n.dicom.pixels` and
        `nsn2n.dicom.geometry`), or memory does not suffice.
    """
    slices, geometry = plan_series(files, allow_own_output=allow_own_output)
    _warn_of_uncorrected_counts(slices[0])
    volume_dhw = np.empty(geometry.shape_dhw, dtype=np.float32)
    mask_dhw = np.zeros(geometry.shape_dhw, dtype=bool)
    for index, facts in enumerate(slices):
        stored_hw = stored_values(_read_pixels(facts.path), facts.pixels, facts.path)
        volume_dhw[index] = facts.pixels.to_values(stored_hw)
        mask_dhw[index] = facts.pixels.is_padding(stored_hw)
    padded = int(np.count_nonzero(mask_dhw))
    logger.info(
        "read series %s: %s, %d padded voxels",
        text(slices[0].header, "SeriesInstanceUID"),
        geometry,
        padded,
    )
    return SeriesVolume(
        volume_dhw=volume_dhw,
        geometry=geometry,
        files=tuple(facts.path for facts in slices),
        headers=tuple(facts.header for facts in slices),
        padding_mask_dhw=mask_dhw if padded else None,
    )


def plan_series(files: Sequence[Path], *, allow_own_output: bool = False) -> tuple[list[SliceFacts], VolumeGeometry]:
    """Check the headers of a series; give its slices in geometric order, and their grid.

    Parameters and errors are those of `read_series`; pixels are not read.
    """
    if not files:
        raise DicomError("a series must have files; got none. Name the files of one series.")
    checked = [check_slice(read_header(path), path, allow_own_output=allow_own_output) for path in files]
    slices = _without_copies(checked)
    check_same_series(slices)
    arrangement = arrange_slices(
        [facts.position_mm for facts in slices],
        [facts.orientation for facts in slices],
        [facts.pixel_spacing_mm for facts in slices],
        slices[0].pixels.shape_hw,
    )
    if arrangement.geometry is None or arrangement.verdict is not Verdict.REGULAR:
        culprit = slices[arrangement.culprit or 0]
        keyword = {
            Verdict.MIXED_SPACING: "PixelSpacing",
            Verdict.MIXED_ORIENTATION: "ImageOrientationPatient",
            Verdict.BAD_ORIENTATION: "ImageOrientationPatient",
        }.get(arrangement.verdict, "ImagePositionPatient")
        raise refusal(
            f"must place the slices on a regular grid; they are {arrangement.verdict.value} ({arrangement.detail})",
            NEXT_STEPS.get(arrangement.verdict, "Export the series again from the scanner or the archive."),
            keyword=keyword,
            path=culprit.path,
            header=culprit.header,
        )
    _warn_of_overlays(slices)
    _check_memory(arrangement.geometry, slices[0])
    return [slices[index] for index in arrangement.order], arrangement.geometry


def _without_copies(slices: Sequence[SliceFacts]) -> list[SliceFacts]:
    """Drop files that are byte for byte a copy of another; refuse different files with one SOPInstanceUID."""
    seen: dict[str, SliceFacts] = {}
    for facts in slices:
        uid = text(facts.header, "SOPInstanceUID")
        original = seen.setdefault(uid, facts)
        if original is facts:
            continue
        if _digest(original.path) != _digest(facts.path):
            raise refusal(
                f"must be different in each file; {original.path.name} has {uid} too, with other content",
                "Take the one that does not belong to the series out of the folder.",
                keyword="SOPInstanceUID",
                path=facts.path,
                header=facts.header,
            )
        logger.warning("%s is a copy of %s and is used once", facts.path, original.path)
    return list(seen.values())


def _digest(path: Path) -> bytes:
    return hashlib.sha256(path.read_bytes()).digest()


def _warn_of_overlays(slices: Sequence[SliceFacts]) -> None:
    concerned = [facts for facts in slices if embedded_overlay_groups(facts.header)]
    if concerned:
        logger.warning(
            "%d slices hold an overlay in unused bits of their pixels (first: %s); it is not kept",
            len(concerned),
            concerned[0].path,
        )


def _warn_of_uncorrected_counts(first: SliceFacts) -> None:
    if text(first.header, "Modality") != "PT":
        return
    units, correction = text(first.header, "Units"), text(first.header, "DecayCorrection")
    series = text(first.header, "SeriesInstanceUID")
    if units == "CNTS":
        logger.warning(
            "series %s holds counts (Units CNTS): factors to uptake values in private attributes are not copied",
            series,
        )
    if correction in ("", "NONE"):
        logger.warning(
            "series %s is not corrected for decay: neighboring slices acquired at other times may differ by that",
            series,
        )


def _check_memory(geometry: VolumeGeometry, first: SliceFacts) -> None:
    needed = int(np.prod(geometry.shape_dhw)) * BYTES_PER_VOXEL
    available = _available_bytes()
    if available is not None and needed > available:
        raise refusal(
            f"a volume must fit into memory; {geometry.shape_dhw} voxels need {needed / 2**30:.1f} GiB,"
            f" {available / 2**30:.1f} GiB are available",
            "Use a machine with more memory, or fewer slices.",
            header=first.header,
        )


def _available_bytes() -> int | None:
    """Memory that can be had without swapping, on Linux; None where that is not known."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    kibibytes = next((line.split()[1] for line in lines if line.startswith("MemAvailable:")), None)
    return None if kibibytes is None else int(kibibytes) * 1024


def _read_pixels(path: Path) -> Dataset:
    try:
        return pydicom.dcmread(path, specific_tags=list(PIXEL_TAGS))
    except (OSError, *PARSE_ERRORS) as error:
        raise refusal(
            f"a DICOM file must be readable; got {type(error).__name__}", "Copy the file again.", path=path
        ) from error


def sdk_metadata(series: SeriesVolume, *, selection_name: str = "") -> dict[str, Any]:
    """Metadata as the MONAI Deploy SDK's ``DICOMSeriesToVolumeOperator`` gives it to an ``Image``.

    Same keys and types, but right geometry: the SDK swaps the two values of PixelSpacing in its affines and
    takes BodyPartExamined from another tag. One key more, ``source_files``: the file of each slice in order.

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
    header, geometry = series.headers[0], series.geometry
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
    depth_mm, between_rows_mm, between_columns_mm = geometry.spacing_mm
    metadata |= {
        "row_pixel_spacing": between_rows_mm,
        "col_pixel_spacing": between_columns_mm,
        "depth_pixel_spacing": depth_mm,
        "row_direction_cosine": list(geometry.row_direction),
        "col_direction_cosine": list(geometry.column_direction),
        "depth_direction_cosine": [
            float(value) for value in np.cross(geometry.row_direction, geometry.column_direction)
        ],
        "dicom_affine_transform": geometry.affine_lps,
        "nifti_affine_transform": geometry.affine_ras,
        "affine": geometry.affine_ras,
        "space": "RAS",
        "selection_name": selection_name,
        "source_files": [str(path) for path in series.files],
    }
    return metadata
