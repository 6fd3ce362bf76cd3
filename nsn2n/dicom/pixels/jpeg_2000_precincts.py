# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How finely a JPEG 2000 codestream divides its tiles: decoders allocate memory for each part, even if it is empty."""

from __future__ import annotations

import struct
from collections.abc import Iterator

__all__ = ["precincts_and_packets"]

SOT, SOD, EOC, COD, COC = 0xFF90, 0xFF93, 0xFFD9, 0xFF52, 0xFF53
OTHERS = frozenset(
    0xFF00 + low for low in (0x50, 0x55, 0x57, 0x58, 0x59, 0x5C, 0x5D, 0x5E, 0x5F, 0x60, 0x61, 0x63, 0x64)
)
"""Further markers that may stand in headers (ISO/IEC 15444-1 A.2). Decoders disagree on where others end."""

WHOLE = 15
"""Exponent of precincts that are not divided, unless an image is larger than any of DICOM's."""


def precincts_and_packets(codestream: bytes, tile_hw: tuple[int, int], tiles: int) -> tuple[int, int] | None:
    """Return at most how many precincts and packets a codestream of one component has; None if its headers are broken.

    Parameters
    ----------
    codestream : bytes
        From SOC.
    tile_hw : (int, int)
        Size of the largest tile.
    tiles : int
    """
    precincts, layers = 0, 1
    try:
        for marker, segment in _segments(codestream):
            if marker == COD:
                layers = max(layers, int.from_bytes(segment[2:4], "big"))
            if marker in (COD, COC):
                own = segment[:1] if marker == COD else segment[1:2]
                coding = segment[5:] if marker == COD else segment[2:]
                precincts = max(precincts, tiles * _precincts(coding, bool(own[0] & 1), tile_hw))
    except (struct.error, IndexError):
        return None
    return (precincts, precincts * layers) if precincts else None


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield markers of the main header and of tile-parts, with the content after their lengths."""
    place, tile_part_end = 2, 0
    while True:
        (marker,) = struct.unpack_from(">H", data, place)
        if marker == EOC:
            return
        if marker == SOD:
            place = tile_part_end
            if place == len(data):
                return
            continue
        (length,) = struct.unpack_from(">H", data, place + 2)
        if marker == SOT:
            (tile_part,) = struct.unpack_from(">I", data, place + 6)
            tile_part_end = place + tile_part if tile_part else len(data)
            if tile_part_end < place + 14:
                raise struct.error
        elif marker not in {0xFF51, COD, COC} and marker not in OTHERS:
            raise struct.error
        if length < 2:
            raise struct.error
        yield marker, data[place + 4 : place + 2 + length]
        place += 2 + length


def _precincts(coding: bytes, divided: bool, tile_hw: tuple[int, int]) -> int:
    """Return precincts of all resolutions of a tile (B.6), one more per axis, as their grid need not start at it."""
    levels = coding[0]
    count = 0
    for resolution in range(levels + 1):
        sizes = coding[5 + resolution] if divided else WHOLE * 17
        across, down = (
            1 if exponent == WHOLE else (side >> (levels - resolution) + exponent) + 2
            for side, exponent in zip(tile_hw, (sizes >> 4, sizes & 15), strict=True)
        )
        count += across * down
    return count
