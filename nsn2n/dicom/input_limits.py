# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How much an input may ask for: small files can pretend to be huge, and folders can hold more than anyone meant."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import DeflatedExplicitVRLittleEndian

from nsn2n.dicom.attributes import refusal
from nsn2n.dicom.pixels.pixel_codecs import CODECS, transfer_syntax
from nsn2n.dicom.slice_facts import SliceFacts
from nsn2n.errors import DicomError, SettingsError
from nsn2n.runtime.memory import available_bytes

__all__ = ["Limits", "check_claimed_pixels", "check_inflation"]

CHUNK_BYTES = 2**20

INFLATED_COPIES = 2
"""While a file is inflated its pieces and the whole are there, and then the whole and its pixels."""

HEADER_COPIES = 32
"""What a header takes in memory when all its sequences have been looked into, as those of an enhanced image are."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What is refused before it takes time or memory."""

    files: int = 1_000_000
    """Files in the input folder and below."""
    inflated_bytes: int = 2**31
    """Length of a file of the deflated transfer syntax after inflation; less where memory is short."""
    header_bytes: int = 2**26
    """Length of the header of a file, without pixels and long private values, each value counted as some tens of bytes
    at least; less where memory is short. A frame of an enhanced image takes some kilobytes."""
    compression: int = 20_000
    """Times that the pixels of a compressed image may be longer than its file: an even image of 16384 x 16384 pixels
    takes some kilobytes."""

    def __post_init__(self) -> None:
        """Check that each limit allows something."""
        for name in ("files", "inflated_bytes", "header_bytes", "compression"):
            if getattr(self, name) < 1:
                raise SettingsError(f"the limit {name} must be 1 or more; got {getattr(self, name)}.")

    def most_inflated(self) -> tuple[int, str]:
        """Return the length that a file may have when inflated, with the memory that there is, and what sets it."""
        return _least(self.inflated_bytes, INFLATED_COPIES)

    def most_of_header(self) -> tuple[int, str]:
        """Return the length that a header may have, with the memory that there is, and what sets it."""
        return _least(self.header_bytes, HEADER_COPIES)


def _least(limit: int, copies: int) -> tuple[int, str]:
    available = available_bytes()
    if available is None or available // copies >= limit:
        return limit, ""
    return available // copies, ", for which there is memory"


def check_inflation(path: Path, start: int, limits: Limits) -> None:
    """Refuse a deflated file that would fill the memory; reading its pixels inflates it.

    Parameters
    ----------
    path : Path
    start : int
        Offset of its dataset.
    limits : Limits

    Raises
    ------
    DicomError
        If it inflates to more than the limit or the memory.
    OSError
        If it cannot be read.
    """
    most, why = limits.most_inflated()
    with path.open("rb") as file:
        file.seek(start)
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        inflated = 0
        while chunk := (inflater.unconsumed_tail or file.read(CHUNK_BYTES)):
            try:
                inflated += len(inflater.decompress(chunk, CHUNK_BYTES))
            except zlib.error:
                return  # the parser reports what is wrong with it
            if inflated > most:
                raise refusal(
                    f"a deflated file must not be longer than {most} bytes when inflated{why}; it is",
                    "Remove it from the folder, or write it in another transfer syntax.",
                    path=path,
                )


def check_claimed_pixels(slices: Sequence[SliceFacts], limits: Limits) -> None:
    """Refuse files whose headers declare more pixels than their bytes can hold.

    Parameters
    ----------
    slices : sequence of SliceFacts
        All slices of whole files.
    limits : Limits

    Raises
    ------
    DicomError
        Naming the first such file.
    """
    claimed: dict[Path, int] = {}
    for facts in slices:
        claimed[facts.path] = claimed.get(facts.path, 0) + facts.pixels.byte_count
    for facts in slices:
        promised = claimed.pop(facts.path, 0)
        if not promised:
            continue
        there = _size(facts.path)
        syntax = transfer_syntax(facts.header)
        if syntax == DeflatedExplicitVRLittleEndian:
            there, _ = limits.most_inflated()
        elif syntax in CODECS:
            there *= limits.compression
        if promised > there:
            height, width = facts.pixels.shape_hw
            raise refusal(
                f"of {height} x {width} pixels must be in the file; {promised} bytes are declared, more than its"
                f" {_size(facts.path)} bytes can hold",
                "Copy or export the file again.",
                keyword="PixelData",
                path=facts.path,
                header=facts.header,
            )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise _gone(path, error) from error


def _gone(path: Path, error: OSError) -> DicomError:
    return refusal(f"a DICOM file must be readable; got {type(error).__name__}", "Copy the file again.", path=path)
