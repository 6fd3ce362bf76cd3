# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How finely codestreams are divided, in their main headers and in those of their tile-parts."""

from __future__ import annotations

import struct

import pytest

from nsn2n.dicom.pixels.jpeg_2000_precincts import precincts_and_packets

START = b"\xff\x4f\xff\x51\0\x02"
END = b"\xff\xd9"


def coding_style(*precincts, levels=0, layers=1):
    body = struct.pack(">BBHB", bool(precincts), 0, layers, 0) + bytes([levels, 0, 0, 0, 1, *precincts])
    return b"\xff\x52" + struct.pack(">H", len(body) + 2) + body


def tile_part(header, data=b"\xff\x52\0\0"):
    contents = header + b"\xff\x93" + data
    return b"\xff\x90" + struct.pack(">HHIBB", 10, 0, 12 + len(contents), 0, 1) + contents


@pytest.mark.parametrize(
    ("headers", "found"),
    [
        (coding_style(levels=5), (6, 6)),
        (coding_style(levels=5, layers=9), (6, 54)),
        (coding_style(0xFF, 0xFF, levels=1), (2, 2)),
        (coding_style(0x00), (66 * 66, 66 * 66)),
        (coding_style() + tile_part(b"") * 2, (1, 1)),
        (coding_style() + tile_part(coding_style(0x55)), (16, 16)),
        (coding_style() + b"\xff\x53\0\x0a\0\1" + bytes(5) + b"\x55", (16, 16)),
    ],
)
def test_the_finest_division_counts(headers, found):
    assert precincts_and_packets(START + headers + END, (64, 64), 1) == found
    assert precincts_and_packets(START + headers + END, (64, 64), 3) == tuple(3 * count for count in found)


@pytest.mark.parametrize(
    "headers",
    [
        b"",
        b"\xff\x30" + coding_style(),
        b"\xff\x54\0\x02" + coding_style(),
        b"\xff\x64\0\1" + coding_style(),
        coding_style(0xFF, levels=1),
        coding_style() + tile_part(b"")[:6] + b"\0\0\0\x05",
    ],
    ids=["none", "no length", "unknown", "short", "too few", "tile-part ends early"],
)
def test_broken_headers_have_none(headers):
    assert precincts_and_packets(START + headers + END, (64, 64), 1) is None
