# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Coding of pixels: ranges, rescale, padding and decoding of one slice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.pixels.pixel_format import PixelFormat, embedded_overlay_groups, pixel_format, stored_values
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError

HERE = Path("slice.dcm")


@pytest.fixture
def header_of(make_series):
    """First slice of a synthetic series with overrides, read from its file."""

    def read(volume_dhw=None, **overrides):
        return pydicom.dcmread(make_series(volume_dhw, overrides=overrides)[0])

    return read


@pytest.mark.parametrize(
    ("bits", "signed", "expected"),
    [(8, False, (0, 255)), (12, False, (0, 4095)), (12, True, (-2048, 2047)), (16, True, (-32768, 32767))],
)
def test_stored_range_is_that_of_bits_stored(bits, signed, expected):
    assert PixelFormat((1, 1), 16, bits, signed, 1.0, 0.0, None).stored_range == expected


@pytest.mark.parametrize(("bits", "signed"), [(12, 0), (12, 1), (16, 0), (16, 1), (10, 1)])
def test_every_stored_value_is_decoded(header_of, bits, signed):
    low = -(2 ** (bits - 1)) if signed else 0
    stored_hw = np.arange(low, low + 2**bits).reshape(32, -1)
    header = header_of(
        stored_hw[None].astype(float), BitsStored=bits, HighBit=bits - 1, PixelRepresentation=signed,
        RescaleIntercept="0",
    )  # fmt: skip
    pixels = pixel_format(header, HERE)
    decoded_hw = stored_values(header, pixels, HERE)
    np.testing.assert_array_equal(decoded_hw, stored_hw)
    assert decoded_hw.dtype == np.int32


def test_values_follow_slope_and_intercept(header_of):
    pixels = pixel_format(header_of(RescaleSlope="0.37", RescaleIntercept="-12.5"), HERE)
    values = pixels.to_values(np.array([0, 1, 4095], dtype=np.int32))
    np.testing.assert_allclose(values, [-12.5, -12.13, 1502.65], rtol=1e-6)
    assert values.dtype == np.float32


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ({}, None),
        ({"PixelPaddingValue": 7}, (7, 7)),
        ({"PixelPaddingValue": 7, "PixelPaddingRangeLimit": 2}, (2, 7)),
        ({"PixelPaddingRangeLimit": 2}, None),  # without a value the limit says nothing
        ({"PixelRepresentation": 1, "PixelPaddingValue": -2000}, (-2000, -2000)),
        ({"PixelRepresentation": 1, "PixelPaddingValue": -10, "PixelPaddingRangeLimit": 5}, (-10, 5)),
    ],
)
def test_padding_range(header_of, overrides, expected):
    assert pixel_format(header_of(**overrides), HERE).padding == expected


def test_padding_is_recognized_for_the_range_with_its_ends():
    pixels = PixelFormat((1, 5), 16, 12, False, 1.0, 0.0, (2, 3))
    np.testing.assert_array_equal(pixels.is_padding(np.array([1, 2, 3, 4])), [False, True, True, False])


def test_overlay_without_its_own_data_is_embedded(header_of):
    header = header_of()
    header.add_new((0x6000, 0x0010), "US", 6)
    header.add_new((0x6002, 0x0010), "US", 6)
    header.add_new((0x6002, 0x3000), "OW", bytes(6))
    assert embedded_overlay_groups(header) == [0x6000]


@pytest.mark.parametrize("held", [False, True])
def test_padding_in_unused_bits_is_refused_only_where_pixels_hold_it(header_of, held):
    """63536 with 12 bits stored would be read as 2096, a bright pixel."""
    header = header_of(PixelPaddingValue=63536)
    pixels = pixel_format(header, HERE)
    words = np.frombuffer(header.PixelData, "<u2").copy()
    if not held:
        np.testing.assert_array_equal(stored_values(header, pixels, HERE).ravel(), words)
        return
    words[:3] = 63536
    header.PixelData = words.tobytes()
    with pytest.raises(DicomError, match=r"\(0028,0120\) must be in the range 0\.\.4095 .* 3 pixels hold"):
        stored_values(header, pixels, HERE)


@pytest.mark.parametrize("representation", [b"W\0", b"US", b"DS", b"SQ", b"PN"])
def test_pixels_of_another_representation_are_refused_in_one_line(make_series, tmp_path, representation):
    file = make_series()[0]
    content = file.read_bytes()
    assert content.count(b"\xe0\x7f\x10\x00OW") == 1
    file.write_bytes(content.replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00" + representation))

    with pytest.raises(DicomError, match=r"PixelData|readable") as caught:
        read_series([file, *file.parent.glob("*2.dcm")])

    assert str(caught.value).isprintable()
    assert str(file) in str(caught.value)
