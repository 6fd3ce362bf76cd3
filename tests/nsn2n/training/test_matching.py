# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Matched regions: noise alone is accepted as often as its distribution says, other tissue is not."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.training.matching import low_pass, match_low_passed, match_noisy, smoothed_noise_gain

# Share of a normal distribution within 2 standard deviations.
WITHIN_2_SD = math.erf(2 / math.sqrt(2))


def _unit_noise(correlation_px=0.0, shape=(256, 256), seed=0):
    noise = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    noise = ndimage.gaussian_filter(noise, correlation_px) if correlation_px else noise
    return noise / noise.std()


def test_low_pass_smooths_noise_and_keeps_a_step():
    step = np.where(np.arange(96) < 48, 0.2, 0.8).astype(np.float32) * np.ones((96, 1), np.float32)
    noisy = step + 0.05 * _unit_noise(shape=(96, 96))

    filtered = low_pass(noisy)

    assert filtered.dtype == np.float32
    left, right = filtered[:, :45], filtered[:, 51:]
    assert left.std() < 0.02
    assert right.std() < 0.02
    # The step stays as high and as steep: three pixels from it both levels are there.
    assert filtered[:, 44].mean() == pytest.approx(0.2, abs=0.02)
    assert filtered[:, 51].mean() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("shape", [(24, 24), (5, 7), (1, 1)])
def test_low_pass_leaves_slices_without_noise(shape):
    flat = np.full(shape, 0.25, np.float32)

    np.testing.assert_allclose(low_pass(flat), flat, rtol=1e-6)


def test_low_passed_neighbors_match_up_to_tau():
    filtered = np.zeros((1, 5), np.float32)
    following = np.array([[0.0, 0.25, -0.25, 0.2500001, -0.3]], np.float32)

    matched = match_low_passed(filtered, following, 0.25)

    assert matched.tolist() == [[True, True, True, False, False]]


@pytest.mark.parametrize("smoothing_px", [0.7, 1.5])
def test_the_gain_on_white_noise_has_a_closed_form(smoothing_px):
    # The squares of a filter's weights sum to the variance that white noise keeps; what is coarser than a Gaussian of
    # 4 px is left out.
    impulse = np.zeros((81, 81))
    impulse[40, 40] = 1
    kernel = ndimage.gaussian_filter(impulse, smoothing_px)
    kernel -= ndimage.gaussian_filter(kernel, 4.0)
    expected = math.sqrt(float(np.square(kernel).sum()))

    assert smoothed_noise_gain(_unit_noise(), smoothing_px) == pytest.approx(expected, rel=0.03)


def test_the_gain_is_not_moved_by_smooth_structure():
    noise = _unit_noise()
    rows, columns = np.indices(noise.shape, dtype=np.float32)

    with_structure = smoothed_noise_gain(noise + 5 * np.sin(rows / 30) + columns / 40, 0.7)

    assert with_structure == pytest.approx(smoothed_noise_gain(noise, 0.7), rel=0.02)


@pytest.mark.parametrize("correlation_px", [0.0, 0.7, 1.0])
def test_pure_noise_matches_as_often_as_a_normal_distribution_says(correlation_px):
    difference = _unit_noise(correlation_px)

    matched = match_noisy(difference, 0.7, 2.0, smoothed_noise_gain(difference, 0.7))

    # White noise under a Gaussian of sd s keeps a variance of 1 / (4 pi s^2). Correlation and smoothing together are
    # one such Gaussian; the gain leaves out what is coarser than 4 px, so a little more than 2 sd of noise is refused.
    variance = correlation_px**2 + 0.7**2
    part = math.sqrt(1 - 2 * variance / (variance + 8) + variance / (variance + 16))
    assert matched.mean() == pytest.approx(math.erf(2 * part / math.sqrt(2)), abs=0.01)
    assert matched.mean() == pytest.approx(WITHIN_2_SD, abs=0.04)


def test_tissue_that_is_in_one_neighbor_only_does_not_match():
    difference = _unit_noise(0.7)
    rows, columns = np.indices(difference.shape)
    spot = (rows - 100) ** 2 + (columns - 150) ** 2 <= 5**2
    gain = smoothed_noise_gain(difference, 0.7)

    for sign in (1, -1):
        matched = match_noisy(difference + np.float32(sign * 6) * spot, 0.7, 2.0, gain)
        core = ndimage.binary_erosion(spot, iterations=2)
        assert matched[core].mean() < 0.05
        far = ~ndimage.binary_dilation(spot, iterations=4)
        np.testing.assert_array_equal(matched[far], match_noisy(difference, 0.7, 2.0, gain)[far])


def test_the_threshold_itself_matches():
    difference = np.array([[1.0, -1.0, 1.5, -1.5, 1.5001]], np.float32)

    # Without smoothing: up to threshold times gain.
    assert match_noisy(difference, 0.0, 3.0, 0.5).tolist() == [[True, True, True, True, False]]
