# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Rules that each slice, and all slices of a series together, must obey to form one volume."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.uid import UID

from nsn2n.dicom.attributes import numbers, raw_value, refusal, text
from nsn2n.dicom.functional_groups import flat_frames, frame_label
from nsn2n.dicom.image_kinds import ENHANCED_CLASSES, SINGLE_FRAME_CLASSES, is_own_output, why_not_a_volume
from nsn2n.dicom.pixels.pixel_format import PixelFormat, pixel_format
from nsn2n.modality import names_of_all

__all__ = ["SliceFacts", "check_file", "check_same_series", "check_slice"]

NECESSARY_UIDS = ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID")

SAME_IN_ALL_SLICES = (
    "SeriesInstanceUID",
    "StudyInstanceUID",
    "FrameOfReferenceUID",
    "SOPClassUID",
    "Modality",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "PixelRepresentation",
    "PhotometricInterpretation",
    "Units",
    "DecayCorrection",
)
"""Differences in these mean that files of different images are mixed."""


PATIENT_KEYWORDS = ("PatientID", "PatientName", "PatientBirthDate")
"""Differences in these mean that slices of two patients are mixed; their values are never reported."""

SMALLEST_MM, LARGEST_MM = 1e-5, 1e4
"""Plausible pixel distances: from those of a microscope to ten meters. Others overflow in later computations."""
FARTHEST_MM = 1e6
"""Positions must be within a kilometer of the origin."""


@dataclass(frozen=True, eq=False)
class SliceFacts:
    """One slice that obeys the rules, and its attributes as numbers."""

    path: Path
    header: Dataset
    """Header of the file; in an enhanced image the flattened one of the frame."""
    position_mm: tuple[float, ...]
    orientation: tuple[float, ...]
    pixel_spacing_mm: tuple[float, ...]
    pixels: PixelFormat
    frame: int | None = None
    """Index of the frame in its file, from 0; None in a single-frame image."""

    @property
    def label(self) -> Path:
        """Name of the file, and number of the frame, for messages."""
        return self.path if self.frame is None else frame_label(self.path, self.frame)


def check_file(header: Dataset, path: Path, *, allow_own_output: bool = False) -> list[SliceFacts]:
    """Check the slices of one file: one, or the frames of an enhanced image; otherwise like `check_slice`."""
    if UID(text(header, "SOPClassUID")) not in ENHANCED_CLASSES:
        return [check_slice(header, path, allow_own_output=allow_own_output)]
    _check_kind(header, path, allow_own_output)
    return [
        replace(check_slice(flat, frame_label(path, index), allow_own_output=allow_own_output), path=path, frame=index)
        for index, flat in enumerate(flat_frames(header, path))
    ]


def check_slice(header: Dataset, path: Path, *, allow_own_output: bool = False) -> SliceFacts:
    """Check the attributes of one file.

    Parameters
    ----------
    header : Dataset
        All attributes except the pixels, with file meta information.
    path : Path
        For messages.
    allow_own_output : bool
        Accept a series that this program wrote, which is already denoised.

    Raises
    ------
    DicomError
        Naming the first rule that is broken.
    """
    _check_kind(header, path, allow_own_output)
    for keyword in NECESSARY_UIDS:
        if not text(header, keyword):
            raise refusal(
                "must have a value; got none",
                "Export the series again from the scanner or the archive.",
                keyword=keyword,
                path=path,
                header=header,
            )
    pixels = pixel_format(header, path)
    spacing = numbers(header, "PixelSpacing", 2, path)
    if not all(SMALLEST_MM <= value <= LARGEST_MM for value in spacing):
        raise refusal(
            f"must be two distances from {SMALLEST_MM:g} to {LARGEST_MM:g} mm; got {text(header, 'PixelSpacing')}",
            "Export the series again from the scanner or the archive.",
            keyword="PixelSpacing",
            path=path,
            header=header,
        )
    position = numbers(header, "ImagePositionPatient", 3, path)
    if max(map(abs, position)) > FARTHEST_MM:
        raise refusal(
            f"must be within {FARTHEST_MM:g} mm of the origin; got {text(header, 'ImagePositionPatient')}",
            "Export the series again from the scanner or the archive.",
            keyword="ImagePositionPatient",
            path=path,
            header=header,
        )
    return SliceFacts(
        path=path,
        header=header,
        position_mm=position,
        orientation=numbers(header, "ImageOrientationPatient", 6, path),
        pixel_spacing_mm=spacing,
        pixels=pixels,
    )


def _check_kind(header: Dataset, path: Path, allow_own_output: bool) -> None:
    reason = why_not_a_volume(header)
    if reason:
        raise refusal(
            f"a series to denoise must hold slices of a {names_of_all('or')} volume; {reason}",
            "Choose another series.",
            path=path,
            header=header,
        )
    sop_class = UID(text(header, "SOPClassUID"))
    if sop_class not in SINGLE_FRAME_CLASSES | ENHANCED_CLASSES:
        raise refusal(
            f"must be {names_of_all('or')} Image Storage, single-frame or enhanced; got {sop_class.name}, "
            "which is not supported",
            "Choose another series, or export this one as single-frame images.",
            keyword="SOPClassUID",
            path=path,
            header=header,
        )
    if is_own_output(header) and not allow_own_output:
        raise refusal(
            "a series to denoise must not be denoised already; this one was written by nsn2n",
            "Choose the series that it was derived from.",
            path=path,
            header=header,
        )


def check_same_series(slices: Sequence[SliceFacts]) -> None:
    """Check that slices belong to one patient, study, series and frame of reference and have the same coding.

    Slope and intercept may differ from slice to slice.

    Raises
    ------
    DicomError
        Naming the attribute and two files that differ; the values of patient attributes are not reported.
    """
    first = slices[0]
    for other in slices[1:]:
        for keyword in SAME_IN_ALL_SLICES:
            here, there = text(other.header, keyword), text(first.header, keyword)
            if here != there:
                raise _differs(keyword, f"{here or 'none'} here, {there or 'none'} in {first.label.name}", other)
        # Compared as bytes: an identifier in a broken character set still distinguishes two patients. The name and the
        # birth date are compared too: an identifier may be empty, or used twice.
        for keyword in PATIENT_KEYWORDS:
            if raw_value(other.header, keyword) != raw_value(first.header, keyword):
                raise _differs(keyword, f"two patients, the other in {first.label.name}", other)


def _differs(keyword: str, found: str, other: SliceFacts) -> Exception:
    return refusal(
        f"must be the same in all slices of a series; got {found}",
        "Remove the files that do not belong to the series from the folder.",
        keyword=keyword,
        path=other.label,
        header=other.header,
    )
