# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Checks number and length of the segments of an RLE frame (PS3.5 Annex G) before they are decoded."""

from __future__ import annotations

import struct
from itertools import pairwise

from nsn2n.errors import DicomError

__all__ = ["check_rle_segments"]

HEADER_BYTES = 64
MOST_SEGMENTS = 15


def check_rle_segments(frame: bytes, segments: int, pixels: int) -> None:
    """Refuse an RLE frame that would not decode to exactly its pixels.

    Parameters
    ----------
    frame : bytes
    segments : int
        One for each byte of each sample.
    pixels : int
        Bytes that each segment must hold.

    Raises
    ------
    DicomError
        The message does not name the file.
    """
    if len(frame) < HEADER_BYTES:
        raise DicomError("an RLE frame without a header")
    found, *offsets = struct.unpack_from("<16I", frame)
    if found != segments or found > MOST_SEGMENTS:
        raise DicomError(f"an RLE frame of {found} segments, not {segments}")
    bounds = [*offsets[:found], len(frame)]
    if bounds[0] < HEADER_BYTES or any(start >= end for start, end in pairwise(bounds)):
        raise DicomError("an RLE frame whose segments do not follow each other")
    for start, end in pairwise(bounds):
        # Some encoders leave a few extra bytes, which are cut off.
        if _unfolds_beyond(frame[start:end], 2 * pixels):
            raise DicomError(f"an RLE segment of far more than {pixels} bytes")


def _unfolds_beyond(segment: bytes, most: int) -> bool:
    """Whether a segment holds more bytes than that, counted from its runs alone (G.3.2)."""
    place = count = 0
    while place < len(segment) and count <= most:
        run = segment[place]
        if run < 128:
            place, count = place + 2 + run, count + 1 + run
        else:
            place, count = (place + 2, count + 257 - run) if run > 128 else (place + 1, count)
    return count > most
