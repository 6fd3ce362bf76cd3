# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Stored pixel values of one slice: their coding, and their conversion to values of the modality.

A stored value s stands for the value ``s * slope + intercept`` (PS3.3 C.11.1): HU in CT, mostly Bq/ml in PET.
Values are computed in float64 and kept in float32, each slice with its own slope and intercept.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from nsn2n.dicom.attributes import PARSE_ERRORS, integer, numbers, refusal, tag_text, text, values
from nsn2n.dicom.pixels.pixel_codecs import CODECS, decode_frame, missing_packages, transfer_syntax
from nsn2n.errors import DicomError
from nsn2n.modality import policy_of, policy_of_sop_class

__all__ = ["PIXEL_TAGS", "PixelFormat", "embedded_overlay_groups", "pixel_format", "stored_values"]

logger = logging.getLogger(__name__)

EXPORT_AGAIN = "Export the series again from the scanner or the archive."

NATIVE_TRANSFER_SYNTAXES = frozenset(
    {
        ImplicitVRLittleEndian,
        ExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        DeflatedExplicitVRLittleEndian,
    }
)

PIXEL_TAGS = [
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "SeriesInstanceUID",
    "PixelData",
]
"""Attributes that `stored_values` needs."""


@dataclass(frozen=True)
class PixelFormat:
    """How the pixels of one slice are coded."""

    shape_hw: tuple[int, int]
    bits_allocated: int
    bits_stored: int
    signed: bool
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    """Lowest and highest stored value that marks a pixel outside the image (PS3.3 C.7.5.1.1.2)."""
    slope_may_change: bool = False
    """Whether a new slope may be chosen if values no longer fit: in PET each slice has its own (C.8.9.4.1.7)."""

    @property
    def stored_range(self) -> tuple[int, int]:
        """Lowest and highest value that BitsStored can hold."""
        if self.signed:
            return -(2 ** (self.bits_stored - 1)), 2 ** (self.bits_stored - 1) - 1
        return 0, 2**self.bits_stored - 1

    @property
    def dtype(self) -> np.dtype[np.generic]:
        """Little-endian type of one pixel in the file that we write."""
        return np.dtype(f"<{'i' if self.signed else 'u'}{self.bits_allocated // 8}")

    @property
    def byte_count(self) -> int:
        """Length of the pixels of one slice, without the byte that makes it even."""
        return self.shape_hw[0] * self.shape_hw[1] * self.bits_allocated // 8

    def to_values(self, stored_hw: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return values of the modality."""
        return (stored_hw.astype(np.float64) * self.slope + self.intercept).astype(np.float32)

    def is_padding(self, stored_hw: NDArray[np.int32]) -> NDArray[np.bool_]:
        """True where a pixel is padding."""
        if self.padding is None:
            return np.zeros(stored_hw.shape, dtype=bool)
        low, high = self.padding
        return (stored_hw >= low) & (stored_hw <= high)


def pixel_format(header: Dataset, path: Path) -> PixelFormat:
    """Check how a slice is coded.

    Parameters
    ----------
    header : Dataset
        With file meta information; pixels are not needed.
    path : Path
        For messages.

    Raises
    ------
    DicomError
        If the coding is not that of a single-frame grayscale image of 8 to 16 bits whose values are linear in
        the stored values, or no decoder for its transfer syntax is installed.
    """
    rows, columns = integer(header, "Rows", path), integer(header, "Columns", path)
    allocated, stored = integer(header, "BitsAllocated", path), integer(header, "BitsStored", path)
    _check_transfer_syntax(header, stored, path)
    signed = integer(header, "PixelRepresentation", path)
    high_bit, samples = integer(header, "HighBit", path), integer(header, "SamplesPerPixel", path)
    photometric = text(header, "PhotometricInterpretation")
    frames = text(header, "NumberOfFrames") or "1"
    rules = (
        ("Rows", rows > 0, "must be positive", rows),
        ("Columns", columns > 0, "must be positive", columns),
        ("SamplesPerPixel", samples == 1, "must be 1 (no color)", samples),
        (
            "PhotometricInterpretation",
            photometric in ("MONOCHROME1", "MONOCHROME2"),
            "must be grayscale",
            photometric,
        ),
        ("NumberOfFrames", frames == "1", "must be absent or 1", frames),
        ("BitsAllocated", allocated in (8, 16), "must be 8 or 16", allocated),
        ("BitsStored", 8 <= stored <= allocated, f"must be in 8..{allocated}", stored),
        ("HighBit", high_bit == stored - 1, f"must be BitsStored - 1 = {stored - 1}", high_bit),
        ("PixelRepresentation", signed in (0, 1), "must be 0 or 1", signed),
        (
            "ModalityLUTSequence",
            "ModalityLUTSequence" not in header,
            "must be absent (values linear)",
            "a table",
        ),
    )
    for keyword, holds, rule, found in rules:
        if not holds:
            raise refusal(f"{rule}; got {found}", EXPORT_AGAIN, keyword=keyword, path=path, header=header)
    slope, intercept = _rescale(header, path)
    return PixelFormat(
        shape_hw=(rows, columns),
        bits_allocated=allocated,
        bits_stored=stored,
        signed=bool(signed),
        slope=slope,
        intercept=intercept,
        padding=_padding_range(header, allocated, bool(signed), path),
        slope_may_change=policy_of_sop_class(text(header, "SOPClassUID")).rescale_of_each_slice and intercept == 0,
    )


def _check_transfer_syntax(header: Dataset, bits_stored: int, path: Path) -> None:
    syntax = transfer_syntax(header)
    if syntax in NATIVE_TRANSFER_SYNTAXES:
        return
    if syntax in CODECS and bits_stored <= CODECS[syntax].most_bits:
        _require_decoder(header, syntax, path)
        return
    known = f"{syntax.name} ({syntax})" if syntax.name != syntax else (str(syntax) or "no value")
    raise refusal(
        f"must be one that can be decoded; got {known}" + (f" with {bits_stored} bits" if syntax in CODECS else ""),
        "Write the series uncompressed first, for example with dcmdjpeg or gdcmconv --raw.",
        keyword="TransferSyntaxUID",
        path=path,
        header=header,
    )


def _require_decoder(header: Dataset, syntax: UID, path: Path) -> None:
    packages = missing_packages(syntax)
    if packages:
        raise refusal(
            f"must be one whose decoder is installed; got {syntax.name} ({syntax}), which needs "
            f"{' and '.join(packages)}",
            f"Run: pip install {' '.join(packages)}",
            keyword="TransferSyntaxUID",
            path=path,
            header=header,
        )


def _rescale(header: Dataset, path: Path) -> tuple[float, float]:
    """Return slope and intercept; if both may be absent, stored values are used unchanged."""
    present = [keyword for keyword in ("RescaleSlope", "RescaleIntercept") if keyword in header]
    if not present and policy_of(text(header, "Modality")).rescale_may_be_absent:
        return 1.0, 0.0
    (slope,) = numbers(header, "RescaleSlope", 1, path)
    (intercept,) = numbers(header, "RescaleIntercept", 1, path)
    if slope == 0:
        raise refusal("must not be 0", EXPORT_AGAIN, keyword="RescaleSlope", path=path, header=header)
    return slope, intercept


def _padding_range(header: Dataset, bits_allocated: int, signed: bool, path: Path) -> tuple[int, int] | None:
    """Return the range of padding values. Some scanners write them with the other signedness: 63536 for -2000."""
    if not values(header, "PixelPaddingValue"):
        return None
    limits = [integer(header, "PixelPaddingValue", path)]
    if values(header, "PixelPaddingRangeLimit"):
        limits.append(integer(header, "PixelPaddingRangeLimit", path))
    modulus = 2**bits_allocated
    wrapped = [limit % modulus for limit in limits]
    if signed:
        wrapped = [limit - modulus if limit >= modulus // 2 else limit for limit in wrapped]
    return min(wrapped), max(wrapped)


def embedded_overlay_groups(header: Dataset) -> list[int]:
    """Return overlay groups (60xx) stored in the unused bits of the pixels (retired, PS3.5 8.1.2)."""
    groups = {tag.group for tag in header.keys() if 0x6000 <= tag.group <= 0x601E}  # noqa: SIM118
    return sorted(group for group in groups if (group, 0x3000) not in header)


def stored_values(dataset: Dataset, pixels: PixelFormat, path: Path) -> NDArray[np.int32]:
    """Decode the stored values of one slice, without bits that do not belong to them.

    Parameters
    ----------
    dataset : Dataset
        At least the attributes `PIXEL_TAGS`, with file meta information.
    pixels : PixelFormat
    path : Path
        For messages.

    Returns
    -------
    array, shape (H, W), int32

    Raises
    ------
    DicomError
        If there are no pixels, or fewer bytes than needed (more are allowed, but no second frame), or a
        codestream is damaged or contradicts the attributes.
    """
    if transfer_syntax(dataset) in CODECS:
        decoded = _decompressed(dataset, pixels, path)
    else:
        decoded = _native(dataset, pixels, path)
    return decoded.astype(np.int32)


def _native(dataset: Dataset, pixels: PixelFormat, path: Path) -> NDArray[np.generic]:
    expected = pixels.byte_count
    try:
        found = len(dataset.get("PixelData") or b"")
    except PARSE_ERRORS as error:  # an invalid value representation, or not one of pixels
        raise _undecodable(type(error).__name__, path, dataset) from error
    if not expected <= found < 2 * expected + 2:
        raise refusal(
            f"must hold {expected} bytes for {pixels.shape_hw[0]} x {pixels.shape_hw[1]} pixels; got {found}",
            "Copy or export the file again.",
            keyword="PixelData",
            path=path,
            header=dataset,
        )
    if found > expected + expected % 2:
        logger.debug("%s of %s has %d bytes after its pixels", tag_text("PixelData"), path, found - expected)
        dataset.PixelData = dataset.PixelData[: expected + expected % 2]
    try:
        decoded = pixel_array(dataset)
    except PARSE_ERRORS as error:
        raise _undecodable(type(error).__name__, path, dataset) from error
    _check_padding_fits(dataset, pixels, path)
    return decoded


def _decompressed(dataset: Dataset, pixels: PixelFormat, path: Path) -> NDArray[np.generic]:
    try:
        decoded = decode_frame(dataset)
    except DicomError as error:
        raise _undecodable(str(error), path, dataset) from error
    (low, high), found = pixels.stored_range, (int(decoded.min()), int(decoded.max()))
    if decoded.shape != pixels.shape_hw or found[0] < low or found[1] > high:
        shape = " x ".join(map(str, decoded.shape))
        raise _undecodable(f"{shape} pixels of {found[0]}..{found[1]} in its codestream", path, dataset)
    return decoded


def _check_padding_fits(dataset: Dataset, pixels: PixelFormat, path: Path) -> None:
    """Refuse padding in the unused bits: without them it would look like a real value."""
    low, high = pixels.stored_range
    if pixels.padding is None or (low <= pixels.padding[0] and pixels.padding[1] <= high):
        return
    words = pixel_array(dataset, correct_unused_bits=False).astype(np.int32)
    count = int(np.count_nonzero(pixels.is_padding(words) & ((words < low) | (words > high))))
    if count:
        raise refusal(
            f"must be in the range {low}..{high} of BitsStored; {count} pixels hold padding outside of it",
            EXPORT_AGAIN,
            keyword="PixelPaddingValue",
            path=path,
            header=dataset,
        )


def _undecodable(found: str, path: Path, dataset: Dataset) -> DicomError:
    return refusal(
        f"must be decodable according to Rows, Columns and BitsStored; got {found}",
        EXPORT_AGAIN,
        keyword="PixelData",
        path=path,
        header=dataset,
    )
