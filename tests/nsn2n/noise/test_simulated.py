# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise that is made anew has the spectrum that was measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.noise.along_slices import SliceCorrelation
from nsn2n.noise.simulated import simulated_noise
from nsn2n.noise.spectrum import noise_spectrum


def spectrum(noise):
    return noise_spectrum(noise.astype(np.float32), lambda _: np.full(noise.shape[1:], noise.std(), np.float32), 8)


@pytest.mark.parametrize("kernel_px", [0.0, 0.8, 1.5])
def test_the_spectrum_is_that_of_the_noise_it_was_measured_on(kernel_px):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((8, 128, 128)), (0, kernel_px, kernel_px))
    power = spectrum(noise)

    again = simulated_noise((8, 128, 120), power, seed=1)

    assert again.shape == (8, 128, 120)
    assert again.dtype == np.float32
    assert again.std() == pytest.approx(1)
    # Blocks leak between frequencies, so that the weakest ones come out a little stronger.
    np.testing.assert_allclose(spectrum(again), power, rtol=0.25, atol=0.05 * power.max())


def test_slices_are_independent():
    noise = simulated_noise((6, 96, 96), np.ones((8, 8), np.float32), seed=0)

    neighbors = [np.corrcoef(noise[index].ravel(), noise[index + 1].ravel())[0, 1] for index in range(5)]

    assert np.abs(neighbors).max() < 0.05


def test_the_seed_decides():
    power = np.ones((8, 8), np.float32)

    first, again, other = (simulated_noise((2, 16, 16), power, seed) for seed in (3, 3, 4))

    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_slices_share_as_much_as_asked_for():
    along = SliceCorrelation(2 / 3, 1 / 3)

    noise = simulated_noise((12, 96, 96), np.ones((8, 8), np.float32), seed=0, along=along)

    shared = [float((noise[:-apart] * noise[apart:]).mean()) for apart in (1, 2, 3)]
    np.testing.assert_allclose(shared, [2 / 3, 1 / 3, 0.0], atol=0.02)
    np.testing.assert_allclose(noise.std(axis=(1, 2)), 1.0, atol=0.03)
