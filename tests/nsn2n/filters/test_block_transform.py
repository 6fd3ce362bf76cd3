# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import fft

from nsn2n.filters.block_transform import BLOCK_PX, BlockTransform, cosines, grid, places_with

HEIGHT, WIDTH = 11, 14


@pytest.fixture
def power():
    return np.random.default_rng(1).uniform(0.5, 2, (BLOCK_PX, BLOCK_PX)).astype(np.float32)


@pytest.fixture
def image():
    return torch.from_numpy(np.random.default_rng(2).normal(size=(HEIGHT, WIDTH)).astype(np.float32))


def test_features_are_the_lowest_coefficients_in_noise_sd(power, image):
    found = BlockTransform(power, WIDTH, None).features(image)

    assert found.shape == ((HEIGHT - 7) * (WIDTH - 7), 9)
    row, column = 2, 5
    block = image[row : row + BLOCK_PX, column : column + BLOCK_PX].numpy()
    expected = (fft.dctn(block, norm="ortho") / np.sqrt(power))[:3, :3]
    np.testing.assert_allclose(found[row * (WIDTH - 7) + column].reshape(3, 3), expected, rtol=1e-4, atol=1e-5)


def test_a_block_is_transformed_from_its_pixels_and_back(power, image):
    transform = BlockTransform(power, WIDTH, None)

    coefficients = image.ravel()[WIDTH + 3 + transform.pixels] @ transform.in_block.T

    block = image[1 : 1 + BLOCK_PX, 3 : 3 + BLOCK_PX].numpy()
    np.testing.assert_allclose(coefficients.reshape(BLOCK_PX, BLOCK_PX), fft.dctn(block, norm="ortho"), atol=1e-5)
    np.testing.assert_allclose(coefficients @ transform.in_block, block.ravel(), atol=1e-5)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_cosines_are_orthonormal(size):
    np.testing.assert_allclose(cosines(size) @ cosines(size).T, np.eye(size), atol=1e-12)


@pytest.mark.parametrize(("positions", "expected"), [(1, [0]), (6, [0, 5]), (7, [0, 6]), (10, [0, 6, 9])])
def test_a_grid_ends_with_the_last_position(positions, expected):
    assert sorted(set(grid(positions, 6, None).tolist())) == expected


def test_places_are_those_whose_square_contains_a_wanted_pixel():
    rows, columns = torch.tensor([0, 3]), torch.tensor([0, 2, 6])
    wanted = np.zeros((HEIGHT, WIDTH), bool)
    wanted[10, 2] = True

    found = places_with(wanted, rows, columns, BLOCK_PX)

    assert list(zip(*(places.tolist() for places in found), strict=True)) == [(3, 0), (3, 2)]
    assert len(places_with(None, rows, columns, BLOCK_PX)[0]) == 6
    assert not len(places_with(np.zeros((HEIGHT, WIDTH), bool), rows, columns, BLOCK_PX)[0])
