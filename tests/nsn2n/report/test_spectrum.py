# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.report.spectrum import TILE_PX, radial_spectrum, tiles_with_least_structure


@pytest.mark.parametrize("pixel_mm", [(1.0, 1.0), (0.5, 0.5), (1.0, 0.5)])
def test_white_noise_is_flat(pixel_mm):
    squares = np.random.default_rng(0).normal(0, 3, (200, TILE_PX, TILE_PX))

    frequency, power = radial_spectrum(squares, pixel_mm)

    np.testing.assert_allclose(power, 9 * pixel_mm[0] * pixel_mm[1], rtol=0.1)
    assert frequency[0] == pytest.approx(1 / (TILE_PX * min(pixel_mm)))
    assert frequency[-1] <= 0.5 / max(pixel_mm)


def test_smooth_noise_has_low_frequencies():
    noise = np.random.default_rng(0).normal(0, 3, (100, TILE_PX, TILE_PX))
    frequency, power = radial_spectrum(ndimage.gaussian_filter(noise, (0, 1, 1), mode="wrap"), (1.0, 1.0))

    # A Gaussian of sd 1 px multiplies the power by exp(-(2 pi f)^2).
    np.testing.assert_allclose(power, 9 * np.exp(-np.square(2 * np.pi * frequency)), rtol=0.3, atol=0.02)


def test_no_squares_no_spectrum():
    assert [values.size for values in radial_spectrum([], (1.0, 1.0))] == [0, 0]


def test_squares_avoid_structure_and_empty_places():
    image = np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32)
    image[:32] = 0
    image[96:] *= 10

    tiles = tiles_with_least_structure(image, count=6)

    assert len(tiles) == 6
    assert all(rows.start in (32, 64) for rows, _ in tiles)
    assert tiles_with_least_structure(np.ones((20, 200), np.float32)) == []


def test_squares_hold_usable_pixels_only():
    image = np.random.default_rng(0).normal(0, 1, (64, 96)).astype(np.float32)
    usable = np.ones(image.shape, bool)
    usable[40, 50] = usable[0, 0] = False

    corners = {(rows.start, columns.start) for rows, columns in tiles_with_least_structure(image, usable)}

    assert corners == {(0, 32), (0, 64), (32, 0), (32, 64)}
