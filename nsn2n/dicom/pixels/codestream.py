# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The size that a codestream gives itself, before a decoder takes memory for it."""

from __future__ import annotations

__all__ = ["size_in_codestream"]

JPEG_2000_START = b"\xff\x4f\xff\x51"
"""Markers SOC and SIZ, with which every codestream of JPEG 2000 and HTJ2K begins (ISO/IEC 15444-1 A.4, A.5.1)."""

JPEG_START = b"\xff\xd8"

FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""Markers SOF of JPEG (ISO/IEC 10918-1 B.1.1.3) and of JPEG-LS (ISO/IEC 14495-1 C.2.2)."""


def size_in_codestream(data: bytes) -> tuple[int, int] | None:
    """Return (rows, columns) that a JPEG, JPEG-LS, JPEG 2000 or HTJ2K codestream claims; None if it is none.

    Parameters
    ----------
    data : bytes
        All of the codestream; a JPEG 2000 one may lie in the boxes of a file format.
    """
    if data[:2] == JPEG_START:
        return _jpeg_size(data)
    start = data.find(JPEG_2000_START)
    if start < 0 or len(data) < start + 24:
        return None
    right, bottom, left, top = (int.from_bytes(data[start + at : start + at + 4], "big") for at in (8, 12, 16, 20))
    return bottom - top, right - left


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker == 0xFF:  # fill byte
            place += 1
        elif marker in FRAME_HEADERS:
            return int.from_bytes(data[place + 5 : place + 7], "big"), int.from_bytes(
                data[place + 7 : place + 9], "big"
            )
        else:
            place += 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    return None
