# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The image size declared by a codestream, checked before a decoder allocates memory for it.

It is read at the same position as by a decoder. Anything that could lead the two to different positions is refused as
not a codestream: a decoder skips what it does not know by its own rules.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

__all__ = ["CodestreamSize", "size_in_codestream"]

JPEG_2000_START = b"\xff\x4f\xff\x51"
"""Markers SOC and SIZ, with which every codestream of JPEG 2000 and HTJ2K starts (ISO/IEC 15444-1 A.4, A.5.1)."""

JP2_START = b"\0\0\0\x0cjP  \r\n\x87\n"
"""The first box of a JP2 file (ISO/IEC 15444-1 I.5.1)."""

JPEG_START = b"\xff\xd8"

FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers SOF of JPEG (ISO/IEC 10918-1 B.1.1.3) and of JPEG-LS (ISO/IEC 14495-1 C.2.2)."""

BEFORE_FRAME = frozenset({0xC4, 0xCC, 0xDB, 0xDD, *range(0xE0, 0xF0), 0xF8, 0xFE})
"""Markers of tables, applications and comments, each with its length. Those without one occur only in a scan."""


class CodestreamSize(NamedTuple):
    """What determines the memory of a decoder."""

    rows: int
    columns: int
    components: int
    tiles: int = 1
    tile_hw: tuple[int, int] = (0, 0)
    start: int = 0
    """Offset of a codestream of JPEG 2000."""


def size_in_codestream(data: bytes) -> CodestreamSize | None:
    """Return what a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream declares; None if it is not one.

    Parameters
    ----------
    data : bytes
        All of the codestream; a JPEG 2000 one may be inside the boxes of a file format.
    """
    try:
        if data.startswith(JPEG_START):
            return _jpeg_size(data)
        start = _first_codestream_box(data) if data.startswith(JP2_START) else 0
        return None if start is None else _jpeg_2000_size(data, start)
    except struct.error:  # the end of the data
        return None


def _jpeg_size(data: bytes) -> CodestreamSize | None:
    place = 2
    while True:
        fill_or_start, marker, length = struct.unpack_from(">BBH", data, place)
        if fill_or_start != 0xFF:
            return None
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in FRAME_HEADERS:
            rows, columns, components = struct.unpack_from(">HHB", data, place + 5)
            return CodestreamSize(rows, columns, components)
        elif marker in BEFORE_FRAME and length >= 2:
            place += 2 + length
        else:
            return None


def _first_codestream_box(data: bytes) -> int | None:
    """Return the offset of the contents of the first box jp2c, the one that is decoded (ISO/IEC 15444-1 I.4, I.5.4)."""
    place = 0
    while True:
        length, kind = struct.unpack_from(">I4s", data, place)
        header = 8
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, place + 8)
            header = 16
        elif length == 0:  # to the end of the file
            length = len(data) - place
        if length < header or length > len(data) - place:
            return None
        if kind == b"jp2c":
            # A palette expands one component to up to 255. A decoder uses it wherever it is.
            return None if b"pclr" in data[:place] else place + header
        place += length


def _jpeg_2000_size(data: bytes, start: int) -> CodestreamSize | None:
    """Return the content of SIZ (ISO/IEC 15444-1 A.5.1), which directly follows SOC."""
    if data[start : start + 4] != JPEG_2000_START:
        return None
    length, _, right, bottom, left, top, *grid, components = struct.unpack_from(">HH8IH", data, start + 4)
    tile_width, tile_height, tile_left, tile_top = grid
    samples = data[start + 42 : start + 4 + length]
    # Subsampled components produce an image of another size.
    if length != 38 + 3 * components or samples[1::3] + samples[2::3] != b"\1" * (2 * components):
        return None
    across, down = _tiles(left, right, tile_left, tile_width), _tiles(top, bottom, tile_top, tile_height)
    if across is None or down is None:
        return None
    rows, columns = bottom - top, right - left
    tile_hw = min(rows, tile_height), min(columns, tile_width)
    return CodestreamSize(rows, columns, components, across * down, tile_hw, start)


def _tiles(start: int, end: int, first: int, size: int) -> int | None:
    """Return how many tiles cover a side of the image; None if the first one does not contain its start (B.3)."""
    if not (first <= start < end and start < first + size):
        return None
    return -(-(end - first) // size)
