# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise that slices share is measured as it was put in, and tissue is not taken for it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.noise.along_slices import SliceCorrelation
from nsn2n.noise.correlation import Partner, choose_partner, slice_correlation

SD = 20.0
SHAPE = (24, 128, 150)


def _tissue(shape=SHAPE):
    """Smooth gradients and a leaning cylinder of 10 noise sd."""
    z, y, x = np.indices(shape, dtype=np.float32)
    disc = (y - 60 - 0.7 * z) ** 2 + (x - 75) ** 2 < 30**2
    return (150 * np.sin(x / 40 + z / 15) + 100 * np.cos(y / 50) + 10 * SD * disc).astype(np.float32)


def _white(shape=SHAPE, seed=0):
    return SD * np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _overlapping(slices, shape=SHAPE, seed=0):
    """Noise of slices so many times as thick as they are apart: correlation 1 - k / slices at distance k."""
    thin = _white((shape[0] + slices - 1, *shape[1:]), seed)
    return sum(thin[start : start + shape[0]] for start in range(slices)) / np.sqrt(slices, dtype=np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [SHAPE, (5, 48, 48), (9, 40, 300), (5, 200, 200)])
def test_independent_slices_share_nothing(shape, seed):
    assert slice_correlation(_tissue(shape) + _white(shape, seed)) == (0, 0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.2, 0.3])
def test_a_small_correlation_comes_back(share, seed):
    # a n_z + b n_z+1 with a^2 + b^2 = 1 and a b = share
    root = np.sqrt(1 - 4 * share**2)
    a, b = np.sqrt((1 + root) / 2), np.sqrt((1 - root) / 2)
    noise = _white((SHAPE[0] + 1, *SHAPE[1:]), seed)
    measured = slice_correlation((_tissue() + a * noise[1:] + b * noise[:-1]).astype(np.float32))

    assert measured.nearest == pytest.approx(share, abs=0.05)
    assert measured.second == 0


@pytest.mark.parametrize(("slices", "nearest", "second"), [(2, 1 / 2, 0), (3, 2 / 3, 1 / 3), (4, 3 / 4, 2 / 4)])
def test_overlapping_slices(slices, nearest, second):
    measured = slice_correlation(_tissue() + _overlapping(slices))

    assert measured.nearest == pytest.approx(nearest, abs=0.08)
    assert measured.second == pytest.approx(second, abs=0.08)


def test_smooth_noise_in_whole_numbers():
    # What rounding adds is finer than the noise, and independent from slice to slice: it hides a part.
    noise = ndimage.gaussian_filter(_overlapping(2), (0, 1.2, 1.2))
    volume = np.rint(_tissue() + 2.5 * noise / noise.std())

    assert 0.3 < slice_correlation(volume.astype(np.float32)).nearest < 0.55


def test_places_that_are_not_valid_do_not_count():
    volume, valid = _tissue() + _overlapping(2), np.ones(SHAPE, bool)
    volume[:, :, 70:] = 30 * _white(SHAPE)[:, :, 70:]
    valid[:, :, 70:] = False

    assert slice_correlation(volume, valid).nearest == pytest.approx(0.5, abs=0.08)


@pytest.mark.parametrize(
    "volume",
    [
        np.zeros((8, 64, 64), np.float32),
        _overlapping(2, (4, 64, 64)),
        _overlapping(2, (3, 64, 64)),
        _overlapping(2, (2, 64, 64)),
        _overlapping(2, (1, 64, 64)),
        _overlapping(2, (12, 10, 64)),
        np.repeat(_white((1, 64, 64)), 12, axis=0),
    ],
    ids=["constant", "4 slices", "3 slices", "2 slices", "1 slice", "narrow", "all slices the same"],
)
def test_nothing_is_reported_where_nothing_can_be_measured(volume):
    assert slice_correlation(volume) == (0, 0)


def test_the_partner():
    assert choose_partner(SliceCorrelation(0.0, 0.0), depth=10) == Partner(1, 0.0)
    assert choose_partner(SliceCorrelation(0.2, 0.0), depth=10) == Partner(1, 0.2)
    assert choose_partner(SliceCorrelation(0.7, 0.4), depth=10) == Partner(2, 0.4)
    assert choose_partner(SliceCorrelation(0.7, 0.4), depth=2) == Partner(1, 0.7)
