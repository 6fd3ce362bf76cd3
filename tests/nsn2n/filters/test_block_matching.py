# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What groups of blocks are filtered by; the filter itself is held to its definition by ``test_edges.py``."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, ndimage

from nsn2n.filters.block_matching import noise_spectrum

SD = 4.0


def even_noise(shape_hw):
    return lambda _: np.full(shape_hw, SD, np.float32)


@pytest.mark.parametrize("sigma_px", [0.0, 0.8])
def test_the_spectrum_is_that_of_the_noise(sigma_px):
    random = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(random.standard_normal((6, 256, 256)), (0, sigma_px, sigma_px))
    noise *= SD / noise.std()
    blocks = noise.reshape(6, 32, 8, 32, 8).swapaxes(2, 3)
    expected = np.square(fft.dctn(blocks, axes=(-2, -1), norm="ortho")).mean(axis=(0, 1, 2))
    expected /= expected.mean()
    volume = noise.copy()
    volume[:, 100:140, 100:] += 1000  # an edge
    volume[:, :, :64] = -1000  # clipped

    spectrum = noise_spectrum(volume.astype(np.float32), even_noise(volume.shape[1:]))

    np.testing.assert_allclose(spectrum, np.maximum(expected, 1e-3), rtol=0.15, atol=0.01)


def test_the_spectrum_is_white_where_none_can_be_measured():
    spectrum = noise_spectrum(np.zeros((3, 32, 32), np.float32), even_noise((32, 32)))

    np.testing.assert_array_equal(spectrum, np.ones((8, 8)))
