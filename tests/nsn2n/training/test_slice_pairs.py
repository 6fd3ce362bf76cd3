# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Matched regions of a whole volume: each pair is judged by the rule of one pair, in the noise of its place."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.noise.level import NoiseMap, measure_noise
from nsn2n.settings import MatchSettings
from nsn2n.training.matching import low_pass, match_low_passed
from nsn2n.training.slice_pairs import pairs_by_low_pass, pairs_by_noise

SD = 4.0
SHAPE = (6, 48, 64)


def noise_of(shape, sd=SD):
    return NoiseMap(np.full((shape[0], 1, 1), sd, np.float32), np.full(shape, sd, np.float32), sd)


@pytest.fixture
def noisy():
    return np.random.default_rng(0).normal(0, SD, SHAPE).astype(np.float32)


def test_noise_alone_is_matched_up_to_the_threshold(noisy):
    matched = pairs_by_noise(noisy, measure_noise(noisy), MatchSettings(threshold_sd=2.0))
    assert matched.shape == (SHAPE[0] - 1, *SHAPE[1:])
    # A normal distribution has 95.4 % within two standard deviations.
    assert matched.mean() == pytest.approx(0.954, abs=0.02)


def test_a_change_of_tissue_unmatches_its_pair_only(noisy):
    noisy[3:, 10:30, 10:30] += 20 * SD
    matched = pairs_by_noise(noisy, noise_of(SHAPE), MatchSettings())
    inside = matched[:, 13:27, 13:27].mean(axis=(1, 2))
    assert inside[2] == 0
    assert (inside[[0, 1, 3, 4]] > 0.9).all()


def test_slices_two_apart_are_compared(noisy):
    noisy[3:, 10:30, 10:30] += 20 * SD
    matched = pairs_by_noise(noisy, noise_of(SHAPE), MatchSettings(), distance=2)
    inside = matched[:, 13:27, 13:27].mean(axis=(1, 2))
    assert matched.shape == (SHAPE[0] - 2, *SHAPE[1:])
    assert (inside[[1, 2]] == 0).all()
    assert (inside[[0, 3]] > 0.9).all()


def test_differences_are_judged_in_the_noise_of_their_place():
    level = np.where(np.arange(64) < 32, 1.0, 10.0).astype(np.float32) * np.ones(SHAPE, np.float32)
    noisy = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32) * level
    matched = pairs_by_noise(noisy, NoiseMap(level[:, :1, :1], level, 5.0), MatchSettings())
    assert matched[:, :, 40:].mean() == pytest.approx(0.954, abs=0.06)


def test_the_papers_rule_is_that_of_each_pair():
    volume = np.random.default_rng(0).uniform(-1000, 3000, (4, 24, 24)).astype(np.float32)
    matched = pairs_by_low_pass(volume, -1000.0, 3000.0, 0.05)
    scaled = [low_pass((slice_hw + 1000) / np.float32(4000)) for slice_hw in volume]
    for index in range(3):
        np.testing.assert_array_equal(matched[index], match_low_passed(scaled[index], scaled[index + 1], 0.05))
