# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Standard deviations in blocks, and the map between the blocks' centers."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.noise.blocks import block_sd, noise_sd_slice, second_difference

SD = 20.0


def _white(shape):
    return SD * np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def test_the_sd_of_each_block_is_robust():
    image = _white((32, 48)) * np.repeat([1.0, 2.0, 3.0], 16).astype(np.float32)
    image[:4, :4] = 1e6

    np.testing.assert_allclose(block_sd(image, None), [[SD, 2 * SD, 3 * SD]] * 2, rtol=0.2)


def test_pixels_that_are_not_usable_do_not_count():
    image, usable = _white((32, 32)), np.ones((32, 32), bool)
    image[:8], usable[:8] = 1e6, False
    usable[16:, 16:] = False

    blocks = block_sd(image, usable)

    np.testing.assert_allclose(blocks, SD, rtol=0.2)
    assert blocks[1, 1] == pytest.approx(np.median(np.abs(image[usable])) * 1.4826)  # none is left in this block


def test_second_differences_of_white_noise_keep_its_sd_and_planes_vanish():
    rows, columns = np.indices((200, 200), dtype=np.float32)

    assert second_difference(_white((200, 200))).std() == pytest.approx(SD, rel=0.03)
    assert np.abs(second_difference(3 * rows - 2 * columns + 5)[1:-1, 1:-1]).max() < 1e-3
    # Whatever depends on one axis only vanishes too.
    assert np.abs(second_difference(100 * np.sin(rows))).max() < 1e-3


def test_a_constant_level_is_constant_in_each_pixel():
    noise_sd = noise_sd_slice(np.full((3, 2), 7.0, np.float32), (45, 31))

    assert noise_sd.shape == (45, 31)
    assert noise_sd.dtype == np.float32
    np.testing.assert_allclose(noise_sd, 7.0, rtol=1e-6)


def test_a_linear_level_is_linear_between_the_centers_and_constant_beyond():
    rows, columns = np.indices((3, 4), dtype=np.float32)

    noise_sd = noise_sd_slice(10 + 2 * rows + 3 * columns, (48, 64))

    # Block k covers the pixels 16 k .. 16 k + 15: its center is at 16 k + 7.5.
    y = np.clip((np.arange(48) - 7.5) / 16, 0, 2)
    x = np.clip((np.arange(64) - 7.5) / 16, 0, 3)
    np.testing.assert_allclose(noise_sd, 10 + 2 * y[:, None] + 3 * x, rtol=1e-6)
