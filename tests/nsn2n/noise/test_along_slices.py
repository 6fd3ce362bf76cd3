# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise that slices share: its power along the slices, and independent noise made to share it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from nsn2n.noise.along_slices import SliceCorrelation, power_along, root_along

ALONG = [SliceCorrelation(0.25, 0.0), SliceCorrelation(0.5, 0.0), SliceCorrelation(2 / 3, 1 / 3)]


@pytest.mark.parametrize("slices", [1, 2, 3, 4])
def test_without_correlation_each_frequency_has_the_power_1(slices):
    np.testing.assert_array_equal(power_along(SliceCorrelation(), slices), np.ones(slices))


@pytest.mark.parametrize("slices", [2, 3, 4])
@pytest.mark.parametrize("thick", [2, 3])
def test_the_power_is_that_of_overlapping_slices(thick, slices):
    thin = np.random.default_rng(0).standard_normal((200_000, slices + thick - 1))
    overlapping = sum(thin[:, start : start + slices] for start in range(thick)) / np.sqrt(thick)
    expected = np.square(fft.dct(overlapping, axis=1, norm="ortho")).mean(axis=0)

    power = power_along(ALONG[thick - 1], slices)

    np.testing.assert_allclose(power, expected, atol=0.05)
    assert power.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("along", ALONG)
def test_independent_noise_becomes_noise_of_that_correlation(along):
    root = root_along(along, 9).astype(float)

    covariance = root @ root.T

    np.testing.assert_allclose(np.diag(covariance), 1.0, atol=1e-5)
    np.testing.assert_allclose(np.diag(covariance, 1), along.nearest, atol=1e-3)
    np.testing.assert_allclose(np.diag(covariance, 2), along.second, atol=1e-3)
    np.testing.assert_allclose(np.diag(covariance, 4), 0.0, atol=1e-3)


@pytest.mark.parametrize("along", [SliceCorrelation(0.9, 0.0), SliceCorrelation(0.2, 0.9)])
@pytest.mark.parametrize("slices", [3, 12])
def test_a_correlation_that_no_noise_has_becomes_one_that_is_possible(along, slices):
    """A measured one may be that of no noise at all."""
    root, power = root_along(along, slices), power_along(along, slices)

    assert np.isfinite(root).all()
    np.testing.assert_allclose(np.square(root).sum(axis=1), 1.0, atol=1e-5)
    assert power.min() > 0
    assert power.mean() == pytest.approx(1.0)
