# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Sizes that codestreams claim, as real encoders write them, and as someone may change them."""

from __future__ import annotations

import tracemalloc

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless

from nsn2n.dicom.pixels.codestream import size_in_codestream
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError

IMAGE_HW = np.random.default_rng(1).integers(0, 200, (37, 50)).astype(np.uint8)

ENCODERS = {
    "JPEG": lambda image: imagecodecs.jpeg8_encode(image),
    "JPEG Lossless": lambda image: imagecodecs.ljpeg_encode(image),
    "JPEG-LS": lambda image: imagecodecs.jpegls_encode(image),
    "JPEG 2000": lambda image: imagecodecs.jpeg2k_encode(image, codecformat="j2k"),
    "JPEG 2000 in boxes": lambda image: imagecodecs.jpeg2k_encode(image, codecformat="jp2"),
    "HTJ2K": lambda image: imagecodecs.htj2k_encode(image),
}


@pytest.mark.parametrize("name", ENCODERS)
def test_the_size_is_that_of_the_image(name):
    try:
        data = ENCODERS[name](IMAGE_HW)
    except imagecodecs.DelayedImportError:
        pytest.skip(f"this build of imagecodecs has no {name}")
    assert size_in_codestream(bytes(data)) == (37, 50)


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"\xff\x4f\xff\x51\0", bytes(100), b"\xff\xd8\xff\xe0\0\x02" * 9])
def test_what_is_no_codestream_has_no_size(data):
    assert size_in_codestream(data) is None


def inflate_size(codestream):
    """Claim 60000 rows and columns."""
    if codestream[:4] == b"\xff\x4f\xff\x51":
        return codestream[:8] + (60000).to_bytes(4, "big") * 2 + codestream[16:]
    place = codestream.index(b"\xff\xf7") + 5
    return codestream[:place] + (60000).to_bytes(2, "big") * 2 + codestream[place + 4 :]


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
def test_a_codestream_that_claims_to_be_huge_is_refused_before_it_is_decoded(make_series, edit_file, syntax):
    files = make_series(np.random.default_rng(2).integers(0, 900, (3, 64, 64)).astype(float))

    def spoil(dataset):
        dataset.compress(syntax, generate_instance_uid=False)
        (codestream,) = generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate([inflate_size(codestream)])

    edit_file(files[1], spoil)
    assert pydicom.dcmread(files[1]).Rows == 64
    tracemalloc.start()
    try:
        with pytest.raises(DicomError, match=r"PixelData .* got a codestream of 60000 x 60000 pixels .*S0001_I0002"):
            read_series(files)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
