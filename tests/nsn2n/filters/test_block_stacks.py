# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of similar stacks: each slice comes back once, in order, by the weights of Wiener, at the ends too."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.filters import block_stacks
from nsn2n.filters.block_stacks import StackFilter, filtered_stacks
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation, power_along
from nsn2n.runtime.cpus import with_threads

WHITE = np.ones((8, 8), np.float32)


def filtered(noisy, pilot, *, noise_factor=1.0, size=4, sd=1.0, wanted=True, along=INDEPENDENT):
    shape_hw = noisy.shape[1:]
    stacks = StackFilter(noisy.shape, WHITE, noise_factor, size, along=along)
    told = list(
        filtered_stacks(
            stacks,
            noisy.astype(np.float32),
            pilot.astype(np.float32),
            lambda _: np.full(shape_hw, sd, np.float32),
            lambda _: np.full(shape_hw, wanted),
        )
    )
    assert [index for index, _ in told] == list(range(len(noisy)))
    return sd * np.stack([slice_hw for _, slice_hw in told])


def noise(depth=9, size=64, seed=0):
    return np.random.default_rng(seed).standard_normal((depth, size, size))


@pytest.mark.parametrize("depth", [2, 3, 4, 5, 11])
def test_what_the_pilot_is_sure_of_passes(depth):
    """The transforms and their inverses are exact, whatever the number of slices."""
    noisy = noise(depth)

    result = filtered(noisy, 1e9 * noise(depth, seed=1))

    np.testing.assert_allclose(result, noisy, atol=1e-3)


def test_weights_are_those_of_wiener():
    """A pilot with power 1 in each coefficient keeps a half, at a noise factor of 3 a quarter."""
    noisy = np.zeros((3, 8, 8))
    noisy[:, 3, 4] = 1.0
    impulse = np.zeros((3, 8, 8))
    impulse[1, 3, 3] = 1.0
    stacks = StackFilter(noisy.shape, WHITE, 1.0, 1)
    power = np.square(
        np.asarray(stacks._over_group) @ impulse.reshape(3, 64) @ np.asarray(stacks._block.in_block).T,
    )

    for noise_factor in (1.0, 3.0):
        coefficients = np.asarray(stacks._over_group) @ noisy.reshape(3, 64) @ np.asarray(stacks._block.in_block).T
        kept = coefficients * power / (power + noise_factor)
        expected = np.asarray(stacks._over_group).T @ kept @ np.asarray(stacks._block.in_block)

        result = filtered(noisy, impulse, noise_factor=noise_factor, size=1)

        np.testing.assert_allclose(result.reshape(3, 64), expected, atol=1e-5)


def test_noise_that_slices_share_is_expected_in_their_mean():
    """What slices have in common holds more of such noise, and their differences less, than of independent noise."""
    along = SliceCorrelation(0.5, 0.0)
    same, alternating = np.ones((3, 1, 1)), np.array([1.0, -2.0, 1.0]).reshape(3, 1, 1) / np.sqrt(2)
    impulse = np.zeros((1, 8, 8))
    impulse[0, 3, 4] = 3.0
    expected = [1 / (1 + power) for power in power_along(along, 3)[[0, 2]]]

    for pattern, kept in zip((same, alternating), expected, strict=True):
        # A pilot with power 1 in each coefficient of a stack: of noise of this power it keeps 1 / (1 + power).
        in_block = np.asarray(StackFilter((3, 8, 8), WHITE, 1.0, 1)._block.in_block)
        pilot = pattern * (in_block.T @ np.ones(64)).reshape(1, 8, 8) / np.sqrt(3)
        result = filtered(pattern * impulse, pilot, size=1, along=along)

        np.testing.assert_allclose(result, kept * pattern * impulse, atol=1e-4)


def test_noise_left_is_the_same_in_all_slices():
    """The first and last slices have as many others in their stacks as those in the middle."""
    result = filtered(noise(depth=16, size=96) + 50, np.full((16, 96, 96), 50.0))

    left = result.std(axis=(1, 2))
    assert left.max() < 0.3
    assert left[[0, 1, -2, -1]].mean() == pytest.approx(left[2:-2].mean(), rel=0.25)


def test_noise_next_to_a_slice_of_other_structure_is_removed_all_the_same():
    """As next to the base of the skull, which is in one slice of a stack and not in the next."""
    pilot = np.zeros((3, 64, 64))
    pilot[2] = 100 * noise(1, seed=1)[0]
    noisy = pilot + noise(3)

    result = filtered(noisy, pilot + 0.1 * noise(3, seed=2))

    assert np.std(result[:2]) < 0.3
    assert np.std(result[2] - pilot[2]) > 0.9  # here all of it may be structure


def test_the_unit_carries_over():
    noisy, pilot = noise() + 20, noise(seed=1) + 20

    np.testing.assert_allclose(filtered(7 * noisy, 7 * pilot, sd=7.0), 7 * filtered(noisy, pilot), rtol=1e-4)


def test_similar_stacks_are_found():
    """A grid repeats every 4 pixels: its noise falls further with stacks from elsewhere than with one's own alone."""
    y, x = np.mgrid[:64, :64]
    truth = 10 * (((y // 2 + x // 2) % 2) * np.ones((7, 1, 1)))
    noisy = truth + noise(7)

    alone, grouped = (filtered(noisy, truth, size=size) - truth for size in (1, 4))

    assert grouped.std() < 0.75 * alone.std()


def test_what_is_not_wanted_comes_back_from_the_pilot():
    pilot = noise(seed=1)

    np.testing.assert_allclose(filtered(noise(), pilot, wanted=False), pilot, atol=1e-6)


def test_the_same_bytes_each_time():
    noisy, pilot = noise(), noise(seed=1)

    np.testing.assert_array_equal(filtered(noisy, pilot), filtered(noisy, pilot))


def test_neither_threads_nor_slices_together_change_a_byte(monkeypatch):
    noisy = noise(11)
    expected = filtered(noisy, 3 * noise(11, seed=1))

    monkeypatch.setattr(block_stacks, "_PIXELS_AT_ONCE", 1)
    with with_threads(3):
        np.testing.assert_array_equal(filtered(noisy, 3 * noise(11, seed=1)), expected)


def test_groups_that_are_filtered_together_change_rounding_alone(monkeypatch):
    noisy = noise(5)
    expected = filtered(noisy, 3 * noise(5, seed=1))

    monkeypatch.setattr(block_stacks, "groups_at_once", lambda device: 7)
    np.testing.assert_allclose(filtered(noisy, 3 * noise(5, seed=1)), expected, atol=1e-4)
