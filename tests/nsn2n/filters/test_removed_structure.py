# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The local mean of what was removed: given back as it is, of noise only what the window lets through."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nsn2n.filters.removed_structure import coherent_excess, excess_noise, removed_mean, structure_share

SD = 10.0


def _sd_like(removed):
    return np.full(removed.shape, SD, np.float32)


def test_a_constant_that_was_removed_is_restored_whole():
    removed = np.full((3, 20, 30), 7.5, np.float32)

    restored = removed_mean(removed, _sd_like(removed), 6.0)

    assert restored.dtype == np.float32
    np.testing.assert_allclose(restored, 7.5, rtol=1e-5)


def test_slices_do_not_mix():
    removed = np.zeros((5, 24, 24), np.float32)
    removed[2] = 4.0

    restored = removed_mean(removed, _sd_like(removed), 6.0)

    np.testing.assert_allclose(restored[2], 4.0, rtol=1e-5)
    assert not restored[[0, 1, 3, 4]].any()


@pytest.mark.parametrize("sigma_px", [3.0, 6.0])
def test_of_white_noise_what_the_window_lets_through_comes_back(sigma_px):
    # A Gaussian window passes 1 / (2 sqrt(pi) sigma) of the sd of white noise. Clipping at 2 sd leaves 0.96 of the sd
    # of a normal distribution: its variance is 1 - 2 (2 phi(2) - 3 (1 - Phi(2))) = 0.9205.
    removed = np.random.default_rng(0).normal(0, SD, (16, 256, 256)).astype(np.float32)

    restored = removed_mean(removed, _sd_like(removed), sigma_px)

    expected = math.sqrt(0.9205) * SD / (2 * math.sqrt(math.pi) * sigma_px)
    assert restored.std() == pytest.approx(expected, rel=0.1)


def test_one_outlier_counts_no_more_than_two_noise_sd():
    removed = np.zeros((1, 41, 41), np.float32)
    removed[0, 20, 20] = 1e6

    restored = removed_mean(removed, _sd_like(removed), 3.0)

    # The peak of the window is 1 / (2 pi sigma^2).
    assert restored.max() == pytest.approx(2 * SD / (2 * math.pi * 3.0**2), rel=0.02)


def test_the_limit_follows_the_local_noise():
    removed = np.full((1, 64, 64), 100.0, np.float32)
    noise_sd = np.full(removed.shape, 1.0, np.float32)
    noise_sd[..., 32:] = 40.0

    restored = removed_mean(removed, noise_sd, 2.0)

    np.testing.assert_allclose(restored[..., :20], 2.0, rtol=1e-4)
    np.testing.assert_allclose(restored[..., 44:], 80.0, rtol=1e-4)


def test_the_input_stays_as_it_was():
    removed = np.random.default_rng(1).normal(0, 50, (2, 12, 12)).astype(np.float32)
    before = removed.copy()

    removed_mean(removed, _sd_like(removed), 6.0)

    np.testing.assert_array_equal(removed, before)


@pytest.mark.parametrize("sigma_px", [1.0, 2.0])
def test_the_local_mean_of_white_noise_has_the_sd_that_the_window_leaves(sigma_px):
    removed = SD * np.random.default_rng(0).standard_normal((256, 256)).astype(np.float32)

    # White noise under a Gaussian of sd s keeps 1 / (2 sqrt(pi) s).
    expected = 1 / (2 * math.sqrt(math.pi) * sigma_px)
    assert excess_noise(removed, _sd_like(removed), sigma_px) == pytest.approx(expected, rel=0.05)


def test_without_noise_there_is_no_local_mean():
    removed = np.ones((8, 8), np.float32)

    assert excess_noise(removed, np.zeros_like(removed), 2.0) == 0
    assert not coherent_excess(removed, np.zeros_like(removed), 2.0, 0.0, 2.5).any()


@pytest.mark.parametrize(
    ("level_sd", "share"),
    [(0.5, 0.0), (0.75, 0.0), (0.8, 0.2), (0.875, 0.5), (1.0, 1.0), (3.0, 1.0), (-3.0, 1.0), (-0.5, 0.0)],
)
def test_an_even_removal_is_restored_by_how_far_it_is_beyond_the_threshold(level_sd, share):
    # Even over the slice, so its local mean is itself: 0.25 of the noise is one sd of such means, 0.75 is three.
    removed = np.full((20, 20), level_sd * SD, np.float32)

    given = coherent_excess(removed, _sd_like(removed), 2.0, mean_sd=0.25, threshold_sd=3.0)

    np.testing.assert_allclose(given, share * removed, rtol=1e-4, atol=1e-4)


def test_a_small_structure_comes_back_where_it_was_and_noise_does_not():
    removed = SD * np.random.default_rng(1).standard_normal((96, 96)).astype(np.float32)
    spot = np.hypot(*np.mgrid[-48:48, -48:48]) < 3
    sd = _sd_like(removed)
    mean_sd = excess_noise(removed, sd, 1.0)

    given = coherent_excess(removed + 5 * SD * spot.astype(np.float32), sd, 1.0, mean_sd, 4.5)

    assert given[spot].mean() > 0.5 * 5 * SD
    far = np.hypot(*np.mgrid[-48:48, -48:48]) > 8
    assert not given[far].any()


def _row(*means):
    return np.array([means], np.float32)


def test_a_structure_has_its_rim_but_not_what_lies_apart_from_its_peak():
    means = _row(0.5, 1.5, 2.0, 4.0, 2.5, 0.5, 2.5, 0.0)
    np.testing.assert_allclose(structure_share(means, 1.0, 3.0), _row(0, 0.5, 1, 1, 1, 0, 0, 0))


def test_a_peak_just_beyond_the_threshold_counts_in_part():
    np.testing.assert_allclose(structure_share(_row(2.0, 3.25, 2.0), 1.0, 3.0), _row(0.25, 0.25, 0.25))


def test_a_dark_structure_beside_a_bright_one_is_another():
    means = _row(2.0, 5.0, 2.0, -2.0, -2.0, 0.0, -2.5, -4.0)
    share = _row(1, 1, 1, 0, 0, 0, 1, 1)
    np.testing.assert_allclose(structure_share(means, 1.0, 3.0), share)
    np.testing.assert_allclose(structure_share(-means, 1.0, 3.0), share)


def test_means_count_in_units_of_those_of_noise():
    means = 3 * np.random.default_rng(0).standard_normal((40, 40)).astype(np.float32)
    np.testing.assert_allclose(structure_share(5 * means, 5.0, 4.0), structure_share(means, 1.0, 4.0), atol=1e-5)
