# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Slices that were interpolated by zero filling are told from others, and go to their acquired grid and back."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, signal

from nsn2n.stack.acquired_grid import AcquiredGrid, acquired_grid

ACQUIRED = (6, 96, 104)
SD = 0.05


def anatomy(shape=ACQUIRED, blur_px=0.7):
    """Discs of several signals in air, and folds of some pixels, which change from slice to slice."""
    z, y, x = np.indices(shape, dtype=np.float32)
    y, x = y / shape[1] - 0.5, x / shape[2] - 0.5
    truth = 0.8 * (np.hypot(y, x) < 0.4) - 0.3 * (np.hypot(y - 0.1, x + 0.01 * z) < 0.15)
    truth += 0.1 * np.sin(60 * x + 8 * np.sin(20 * y) + 0.4 * z) * (np.hypot(y, x) < 0.38)
    return ndimage.gaussian_filter(truth, (0, blur_px, blur_px))


def magnitude(truth, sd=SD, stored_hw=None, seed=0):
    """Magnitude of an image with noise in both channels, interpolated to the stored size before it is taken."""
    noise = np.random.default_rng(seed).standard_normal((2, *truth.shape))
    channels = truth + sd * noise[0], sd * noise[1]
    for axis, size in enumerate(stored_hw or ()):
        channels = [signal.resample(channel, size, axis=1 + axis) for channel in channels]
    return np.hypot(*channels).astype(np.float32)


@pytest.mark.parametrize("stored_hw", [(192, 208), (256, 256), (128, 128), (384, 416), (192, 104), (96, 150)])
def test_the_acquired_size_is_found(stored_hw):
    grid = acquired_grid(magnitude(anatomy(), stored_hw=stored_hw))

    assert grid is not None
    assert grid.stored_hw == stored_hw
    np.testing.assert_allclose(grid.acquired_hw, ACQUIRED[1:], atol=4)


@pytest.mark.parametrize("sd", [0.002, 0.02, 0.15])
def test_at_any_noise(sd):
    grid = acquired_grid(magnitude(anatomy(), sd, (192, 208)))

    assert grid is not None
    np.testing.assert_allclose(grid.acquired_hw, ACQUIRED[1:], atol=4)


def test_rounded_and_cropped_slices():
    stored = np.rint(400 * magnitude(anatomy(), stored_hw=(192, 208)))[:, 12:-9, 5:-20]

    grid = acquired_grid(stored.astype(np.float32))

    assert grid is not None
    np.testing.assert_allclose(grid.pixels, 2.0, rtol=0.06)


def test_slices_whose_high_frequencies_were_damped():
    """As by a window on the acquired frequencies, which are then fewer in effect."""
    frequencies = np.meshgrid(np.fft.fftfreq(96), np.fft.fftfreq(104), indexing="ij")
    window = 1 / (1 + np.exp((2 * np.hypot(*frequencies) - 0.9) / 0.05))
    noise = np.random.default_rng(0).standard_normal((2, *ACQUIRED))
    damped = np.fft.ifft2(np.fft.fft2(anatomy() + SD * (noise[0] + 1j * noise[1])) * window)
    for axis, size in enumerate((192, 208)):
        damped = signal.resample(damped, size, axis=1 + axis)

    grid = acquired_grid(np.abs(damped).astype(np.float32))

    assert grid is not None
    assert (np.array(grid.acquired_hw) <= ACQUIRED[1:]).all()
    assert (np.array(grid.acquired_hw) >= np.multiply(ACQUIRED[1:], 0.8)).all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("blur_px", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("sd", [0.01, 0.05, 0.2])
def test_anatomy_with_noise_of_its_own_is_as_acquired(blur_px, sd, seed):
    assert acquired_grid(magnitude(anatomy(blur_px=blur_px), sd, seed=seed)) is None


def test_slices_that_were_only_smoothed_are_as_acquired():
    smoothed = ndimage.gaussian_filter(magnitude(anatomy(), 0.1), (0, 0.9, 0.9))

    assert acquired_grid(smoothed) is None


@pytest.mark.parametrize("volume", [np.zeros((3, 96, 96)), np.ones((2, 80, 80)), magnitude(anatomy())[:, :40, :40]])
def test_without_noise_or_in_small_slices_nothing_is_known(volume):
    assert acquired_grid(volume.astype(np.float32)) is None


@pytest.mark.parametrize("acquired_hw", [(96, 104), (90, 104), (96, 208), (70, 70)])
def test_what_was_acquired_comes_back(acquired_hw):
    grid = AcquiredGrid(acquired_hw, (192, 208))
    acquired = np.random.default_rng(0).standard_normal((3, *acquired_hw)).astype(np.float32)

    stored = np.stack([grid.interpolated(image) for image in acquired])

    assert stored.shape == (3, 192, 208)
    assert stored.dtype == np.float32
    np.testing.assert_allclose(grid.acquired(stored), acquired, atol=1e-5)


def test_places_are_those_of_the_nearest_pixels():
    grid = AcquiredGrid((8, 5), (16, 10))
    spot = np.zeros((8, 5), np.float32)
    spot[3, 4] = 1.0

    stored = grid.interpolated(spot)

    assert np.unravel_index(stored.argmax(), stored.shape) == grid.stored_place(3, 4) == (6, 8)
    assert grid.repeated(spot)[6, 8] == 1
    assert grid.repeated(spot).sum() == pytest.approx(4, abs=2)
    assert grid.repeated(spot).shape == (16, 10)
    assert grid.stored_place(7, 4) == (14, 8)


def test_spacing_is_wider_by_the_same_factor():
    assert AcquiredGrid((128, 200), (256, 250)).spacing_mm((3.0, 0.5, 0.8)) == pytest.approx((3.0, 1.0, 1.0))


def test_a_mask_is_that_of_the_nearest_pixels():
    mask = np.zeros((2, 12, 16), bool)
    mask[1, 4:, :8] = True

    sampled = AcquiredGrid((6, 8), (12, 16)).sampled(mask)

    assert not sampled[0].any()
    np.testing.assert_array_equal(sampled[1], mask[1, ::2, ::2])
