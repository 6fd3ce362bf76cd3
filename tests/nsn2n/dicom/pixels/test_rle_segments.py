# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""RLE frames that say one thing in their headers and hold another."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import RLELossless

from nsn2n.dicom.pixels.rle_segments import check_rle_segments
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError

PIXELS = 64 * 64
PLANE = bytes([129, 7]) * 32
"""32 runs of 128 equal bytes."""


def frame(*segments, count=None, offsets=None):
    starts = [64 + sum(map(len, segments[:index])) for index in range(len(segments))] if offsets is None else offsets
    header = struct.pack("<16I", len(segments) if count is None else count, *starts, *[0] * (15 - len(starts)))
    return header + b"".join(segments)


@pytest.mark.parametrize("last", [PLANE, PLANE + b"\0\0", bytes([128]) + PLANE, b"\0\1" * PIXELS])
def test_segments_of_all_pixels_pass(last):
    check_rle_segments(frame(PLANE, last), 2, PIXELS)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", "without a header"),
        (bytes(64), "0 segments, not 2"),
        (frame(PLANE), "1 segments, not 2"),
        (frame(PLANE, PLANE, count=2**32 - 1), "4294967295 segments, not 2"),
        (frame(PLANE, PLANE, offsets=[128, 64]), "do not follow"),
        (frame(PLANE, PLANE, offsets=[64, 64]), "do not follow"),
        (frame(PLANE, PLANE, offsets=[60, 128]), "do not follow"),
        (frame(PLANE, PLANE, offsets=[64, 192]), "do not follow"),
        (frame(PLANE, PLANE * 3), "far more than 4096 bytes"),
    ],
)
def test_other_frames_are_refused(data, found):
    with pytest.raises(DicomError, match=found):
        check_rle_segments(data, 2, PIXELS)


def test_a_segment_that_unfolds_without_end_is_not_unfolded(make_series, edit_file):
    files = make_series(np.zeros((3, 64, 64)))

    def spoil(dataset):
        dataset.compress(RLELossless, generate_instance_uid=False)
        dataset.PixelData = encapsulate([frame(PLANE, PLANE * 10_000)])

    edit_file(files[0], spoil)
    with pytest.raises(DicomError, match=r"PixelData .* got an RLE segment of far more than 4096 bytes \[.*I0001"):
        read_series(files)
