# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from nsn2n.errors import SettingsError
from nsn2n.filters.blending import blend
from nsn2n.noise.rician import rician_mean


@pytest.fixture
def volumes():
    random = np.random.default_rng(0)
    original = random.normal(0, 1e3, (3, 8, 9)).astype(np.float32)
    return original, (original + random.normal(0, 1e-3, original.shape)).astype(np.float32)


@pytest.mark.parametrize(("strength", "end"), [(0, 0), (1, 1), (0.0, 0), (1.0, 1)])
def test_both_ends_are_exact(volumes, strength, end):
    expected = volumes[end].copy()

    blended = blend(*volumes, strength)

    assert blended.tobytes() == expected.tobytes()
    assert blended is volumes[1]


@pytest.mark.parametrize("strength", [0.1, 0.5, 0.9])
def test_what_is_between_is_linear(strength):
    random = np.random.default_rng(1)
    original, denoised = (random.normal(40, 30, (2, 5, 6)).astype(np.float32) for _ in range(2))
    expected = original + strength * (denoised.astype(np.float64) - original)

    np.testing.assert_allclose(blend(original, denoised, strength), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("error")
def test_voxels_that_are_no_numbers_stay(volumes):
    original, denoised = volumes
    for value, column in ((np.nan, 0), (np.inf, 1), (-np.inf, 2)):
        original[1, 2, column] = denoised[1, 2, column] = value
    kept = original[1, 2, :3].copy()

    np.testing.assert_array_equal(blend(original, denoised, 0.5)[1, 2, :3], kept)


@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_beyond_the_ends(volumes, strength):
    with pytest.raises(SettingsError, match=r"strength must be in 0\.\.1"):
        blend(*volumes, strength)


def test_noise_of_magnitudes_without_signal_keeps_noise_and_mean_in_proportion():
    """The mean of a magnitude without signal is sqrt(pi / 2) of the noise in a channel, whatever that is."""
    random = np.random.default_rng(2)
    magnitude = np.hypot(random.normal(0, 50, (4, 64, 64)), random.normal(0, 50, (4, 64, 64))).astype(np.float32)

    half = blend(magnitude, np.zeros_like(magnitude), 0.5)

    assert half.mean() == pytest.approx(25 * float(rician_mean(np.zeros(1))[0]), rel=0.01)
    assert half.mean() / half.std() == pytest.approx(magnitude.mean() / magnitude.std(), rel=1e-4)
