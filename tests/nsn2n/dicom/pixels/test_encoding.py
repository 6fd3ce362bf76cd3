# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Stored values of denoised slices; `test_pet` has those of slices with a slope of their own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nsn2n.dicom.pixels.encoding import encode_slice
from nsn2n.dicom.pixels.pixel_format import PixelFormat


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    bits=st.integers(8, 16),
    signed=st.booleans(),
    slope=st.floats(1e-4, 1e4),
    intercept=st.floats(-1e5, 1e5),
    seed=st.integers(0, 2**32 - 1),
)
def test_unchanged_slice_is_bit_exact_for_any_slope(bits, signed, slope, intercept, seed):
    pixels = PixelFormat((4, 5), 16, bits, signed, slope, intercept, padding=None)
    low, high = pixels.stored_range
    stored_hw = np.random.default_rng(seed).integers(low, high + 1, size=(4, 5), dtype=np.int32)
    encoded = encode_slice(pixels.to_values(stored_hw), stored_hw, pixels)
    np.testing.assert_array_equal(encoded.stored_hw, stored_hw)
    assert encoded.clipped == 0


@pytest.mark.parametrize(
    ("padding", "value", "expected"),
    [((100, 100), 100.2, 101), ((100, 100), 99.8, 99), ((0, 5), 1.0, 6), ((250, 255), 251.0, 249)],
)
def test_pixel_on_padding_moves_to_the_nearest_free_value(padding, value, expected):
    pixels = PixelFormat((1, 1), 8, 8, False, 1.0, 0.0, padding)
    encoded = encode_slice(np.array([[value]]), np.array([[50]], dtype=np.int32), pixels)
    assert encoded.stored_hw.item() == expected
    assert encoded.moved_off_padding == 1
