# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Zeros around a skull-stripped head or a padded volume change nothing but the time that a run takes."""

from __future__ import annotations

import numpy as np
import pytest

import nsn2n

QUICK = {"fit": {"steps": 20, "crop_px": 32}, "refit": {"when": "never"}, "contrast_kept": False}
NOISE_SD = 20.0
ROWS, COLUMNS = np.mgrid[:72, :64]
HEAD = np.hypot((ROWS - 36) / 26, (COLUMNS - 32) / 22) < 1


def _tissue():
    tissue = 300.0 + 80 * (np.hypot(ROWS - 30, COLUMNS - 36) < 9)
    return np.broadcast_to(np.where(HEAD, tissue, 0.0), (6, 72, 64)).astype(np.float32)


def _noisy(seed=0):
    random = np.random.default_rng(seed)
    tissue = _tissue()
    channels = random.normal(0, NOISE_SD, (2, *tissue.shape))
    return np.hypot(tissue + channels[0], channels[1]).astype(np.float32)


def _error(result):
    return float(np.sqrt(np.square(result.volume - _tissue())[:, HEAD].mean()))


@pytest.mark.parametrize("modality", ["MR", "CT", "PT", None])
@pytest.mark.parametrize("value", [0, -1024])
def test_error_and_noise_are_those_with_the_background_that_was_measured(modality, value):
    noisy = _noisy()

    whole = nsn2n.denoise(noisy, modality=modality, config=QUICK)
    stripped = nsn2n.denoise(np.where(HEAD, noisy, np.float32(value)), modality=modality, config=QUICK)

    assert _error(stripped) < 1.1 * _error(whole)
    assert (stripped.volume[:, ~HEAD] == value).all()
    assert np.median(stripped.noise_sd[:, HEAD]) == pytest.approx(NOISE_SD, rel=0.1)


@pytest.mark.parametrize("value", [0, -2000])
def test_a_padded_volume_is_denoised_as_it_is_without_padding(value):
    tight = _noisy()[:, 16:56, 16:48]
    padded = np.full((10, 90, 70), value, np.float32)
    place = np.s_[2:8, 30:70, 5:37]
    padded[place] = tight

    alone = nsn2n.denoise(tight, config=QUICK)
    result = nsn2n.denoise(padded, config=QUICK)

    assert np.array_equal(result.volume[place], alone.volume)
    assert np.array_equal(result.noise_sd[place], alone.noise_sd)
    assert result.measured.noise_sd_median == alone.measured.noise_sd_median
    outside = np.ones(padded.shape, bool)
    outside[place] = False
    assert (result.volume[outside] == value).all()
    assert (result.noise_sd[outside] == 0).all()


def test_places_of_what_was_removed_are_those_of_the_volume():
    tight = _noisy()[:, 16:56, 16:48]
    tight[3, 20:23, 10:13] += 500
    padded = np.zeros((10, 90, 70), np.float32)
    padded[2:8, 30:70, 5:37] = tight
    config = {
        **QUICK,
        "excess_sd": None,
        "excess_across_sd": None,
        "largest_change_sd": None,
        "average": {"when": "never"},
    }
    config["structure"] = {"excess_review": 1.0}

    alone, result = (nsn2n.denoise(volume, config=config).structure for volume in (tight, padded))

    assert alone.findings
    assert [found.index_zyx for found in result.findings] == [
        (z + 2, y + 30, x + 5) for z, y, x in (found.index_zyx for found in alone.findings)
    ]
    assert np.array_equal(result.excess_hw[30:70, 5:37], alone.excess_hw)
