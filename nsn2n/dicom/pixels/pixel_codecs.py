# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed transfer syntaxes: which are accepted, their decoders, and what must be declared of a lossy one.

Each syntax has one fixed decoder, so that pixels never depend on which packages are installed.
"""

from __future__ import annotations

import copy
import logging
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from nsn2n.dicom.attributes import PARSE_ERRORS, text
from nsn2n.dicom.pixels.codestream import size_in_codestream
from nsn2n.dicom.pixels.jpeg_2000_precincts import precincts_and_packets
from nsn2n.dicom.pixels.rle_segments import check_rle_segments
from nsn2n.errors import DicomError

__all__ = [
    "CODECS",
    "PACKAGES",
    "Codec",
    "LossyCompression",
    "decode_frame",
    "lossy_compression",
    "missing_packages",
    "transfer_syntax",
]

# pydicom logs a traceback for each frame that it cannot decode, in addition to raising an error.
logging.getLogger("pydicom.pixels.decoders.base").addFilter(lambda record: record.levelno < logging.ERROR)


@dataclass(frozen=True)
class Codec:
    """How one transfer syntax is decoded."""

    plugin: str
    """Name of the decoder among pydicom's."""
    most_bits: int = 16
    """Largest BitsStored that it decodes."""
    lossy_method: str = ""
    """LossyImageCompressionMethod (PS3.3 C.7.6.1.1.5.1) if values may have been lost; empty if they were not."""
    end_marker: bytes = b"\xff\xd9"
    """End marker of a complete codestream; RLE has none, but its bytes are counted."""


CODECS = {
    RLELossless: Codec("pydicom", end_marker=b""),
    # No decoder with a permissive license accepts 12-bit lossy JPEG.
    JPEGBaseline8Bit: Codec("gdcm", most_bits=8, lossy_method="ISO_10918_1"),
    JPEGExtended12Bit: Codec("gdcm", most_bits=8, lossy_method="ISO_10918_1"),
    JPEGLossless: Codec("gdcm"),
    JPEGLosslessSV1: Codec("gdcm"),
    JPEGLSLossless: Codec("pyjpegls"),
    JPEGLSNearLossless: Codec("pyjpegls", lossy_method="ISO_14495_1"),
    JPEG2000Lossless: Codec("pylibjpeg"),
    JPEG2000: Codec("pylibjpeg", lossy_method="ISO_15444_1"),
    HTJ2KLossless: Codec("pylibjpeg"),
    HTJ2KLosslessRPCL: Codec("pylibjpeg"),
    HTJ2K: Codec("pylibjpeg", lossy_method="ISO_15444_15"),
}
"""The compressed transfer syntaxes that are accepted (PS3.5 A.4)."""

PACKAGES = {"gdcm": ("python-gdcm",), "pyjpegls": ("pyjpegls",), "pylibjpeg": ("pylibjpeg", "pylibjpeg-openjpeg")}
"""Names on pip of the packages of each decoder; pydicom itself needs none."""


FEW_TILES, SMALL_TILE = 64, 256
"""A decoder takes about 7 kB for each tile. Tiles of fewer pixels than this are useless, except at the edges."""


FEW_PRECINCTS, SMALL_PRECINCT, MOST_LAYERS = 1024, 16, 64
"""The same for precincts, about 500 bytes each, and for packets, of which each layer has one per precinct."""


class LossyCompression(NamedTuple):
    """What PS3.3 C.7.6.1.1.5 requires."""

    method: str
    ratio: float
    """Bytes of the uncompressed pixels divided by those of the codestream."""


def transfer_syntax(dataset: Dataset) -> UID:
    """TransferSyntaxUID of the file that a dataset was read from; empty if it has none."""
    return UID(text(dataset.file_meta, "TransferSyntaxUID")) if hasattr(dataset, "file_meta") else UID("")


def missing_packages(syntax: UID) -> tuple[str, ...]:
    """Packages to install before a key of `CODECS` can be decoded; empty if it can be."""
    plugin = CODECS[syntax].plugin
    return () if plugin in get_decoder(syntax).available_plugins else PACKAGES[plugin]


def decode_frame(dataset: Dataset) -> NDArray[np.generic]:
    """Decode the one frame of a compressed image.

    Parameters
    ----------
    dataset : Dataset
        With PixelData, the attributes that describe it, and file meta information that names a key of `CODECS`.

    Returns
    -------
    array, shape (H, W)

    Raises
    ------
    DicomError
        If the codestream is truncated or damaged; the message does not name the file.
    """
    codec = CODECS[transfer_syntax(dataset)]
    try:
        codestream = _codestream(dataset)
        complete = codestream.rstrip(b"\0").endswith(codec.end_marker)
        # Some decoders are lenient and fill the rest of a truncated image.
        if not complete:
            raise DicomError("a codestream that ends before its end marker")
        _check_size(codestream, dataset)
        decoded = pixel_array(dataset, decoding_plugin=codec.plugin)
        if codec.plugin == "gdcm" and not _holds_whole_values(decoded, dataset):
            raise DicomError("a codestream with values beyond BitsStored")
        return decoded
    except (RuntimeError, *PARSE_ERRORS) as error:
        raise DicomError(f"a codestream that the decoder {codec.plugin} refuses") from error


def lossy_compression(dataset: Dataset, native_bytes: int) -> LossyCompression | None:
    """Return method and ratio if the transfer syntax of a source is lossy; None if it is not.

    Parameters
    ----------
    dataset : Dataset
        With PixelData and file meta information.
    native_bytes : int
        Length of the uncompressed pixels, of all frames.
    """
    codec = CODECS.get(transfer_syntax(dataset))
    if codec is None or not codec.lossy_method:
        return None
    frames = int(dataset.get("NumberOfFrames") or 1)
    encoded_bytes = sum(len(frame) for frame in generate_frames(dataset.PixelData, number_of_frames=frames))
    return LossyCompression(codec.lossy_method, native_bytes / encoded_bytes)


def _check_size(codestream: bytes, dataset: Dataset) -> None:
    """Refuse what contradicts the attributes: a decoder would allocate memory for whatever is declared."""
    pixels = dataset.Rows * dataset.Columns
    if transfer_syntax(dataset) == RLELossless:
        check_rle_segments(codestream, dataset.SamplesPerPixel * dataset.BitsAllocated // 8, pixels)
        return
    claimed = size_in_codestream(codestream)
    if claimed is None:
        raise DicomError("a codestream of no pixels")
    if (claimed.rows, claimed.columns) != (dataset.Rows, dataset.Columns):
        raise DicomError(f"a codestream of {claimed.rows} x {claimed.columns} pixels")
    if claimed.components != dataset.SamplesPerPixel:
        raise DicomError(f"a codestream of {claimed.components} samples per pixel, not {dataset.SamplesPerPixel}")
    if claimed.tiles > FEW_TILES + pixels // SMALL_TILE:
        raise DicomError(f"a codestream of {claimed.tiles} tiles for {dataset.Rows} x {dataset.Columns} pixels")
    if CODECS[transfer_syntax(dataset)].plugin == "pylibjpeg":
        found = precincts_and_packets(codestream[claimed.start :], claimed.tile_hw, claimed.tiles)
        if found is None:
            raise DicomError("a codestream with broken headers")
        most = FEW_PRECINCTS + pixels // SMALL_PRECINCT
        if found[0] > most or found[1] > MOST_LAYERS * most:
            raise DicomError(f"a codestream of {found[0]} precincts, {found[1]} packets")


def _holds_whole_values(decoded: NDArray[np.generic], dataset: Dataset) -> bool:
    """Whether GDCM, which silently truncates values to BitsStored, has truncated none: full words are decoded too.

    Negative values may be sign-extended or not.
    """
    full = copy.copy(dataset)
    full.BitsStored, full.HighBit = dataset.BitsAllocated, dataset.BitsAllocated - 1
    words, values = pixel_array(full, decoding_plugin="gdcm").astype(np.int32), decoded.astype(np.int32)
    return bool(np.all((words == values) | (words == values % 2**dataset.BitsStored)))


def _codestream(dataset: Dataset) -> bytes:
    """Return all fragments of the single frame."""
    frames = generate_frames(dataset.PixelData, number_of_frames=1)
    first = next(frames, b"")
    if next(frames, None) is not None:  # it would be decoded too
        raise DicomError("more than one frame")
    return first
