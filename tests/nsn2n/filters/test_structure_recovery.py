# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a denoised volume gets back of the removed part, and that noise alone stays removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.filters.structure_recovery import StructureRecovery
from nsn2n.noise.level import measure_noise
from nsn2n.settings import Settings

SD = 10.0
SHAPE = (9, 96, 96)
NOTHING = Settings(excess_sd=None, excess_across_sd=None, mean_px=None, largest_change_sd=None)
STEPS = ("small_structures", "structures_across", "means_and_bounds")
MIDDLE = (slice(None), slice(44, 52), slice(44, 52))


def _noise():
    return (SD * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)


def _with_structure(contrast_sd, first, last):
    volume = _noise()
    volume[first:last, 44:52, 44:52] += contrast_sd * SD
    return volume


def _restored(noisy, step, settings=None, **options):
    """What one step gives back to a volume from which all was removed."""
    denoised = np.zeros_like(noisy)
    restorer = StructureRecovery(noisy, measure_noise(noisy), settings or Settings())
    getattr(restorer, step)(denoised, **options)
    return denoised


@pytest.mark.parametrize("step", STEPS)
def test_without_thresholds_nothing_comes_back(step):
    assert not _restored(_with_structure(3, 0, 9), step, NOTHING).any()


@pytest.mark.parametrize("step", STEPS[:2])
def test_of_noise_next_to_nothing_comes_back(step):
    assert _restored(_noise(), step).std() < 0.05 * SD


def test_a_structure_of_one_slice_comes_back_there_and_nowhere_else():
    back = _restored(_with_structure(4, 4, 5), "small_structures")

    assert back[4][MIDDLE[1:]].mean() > 0.8 * 4 * SD
    assert np.abs(back[[0, 2, 6, 8]]).mean() < 0.05 * SD


def test_a_structure_too_faint_for_one_slice_comes_back_if_it_goes_through_several():
    volume = _with_structure(0.6, 2, 7)

    across = _restored(volume, "structures_across")[4][MIDDLE[1:]].mean()
    small = _restored(volume, "small_structures")[4][MIDDLE[1:]].mean()

    assert across > 0.5 * 0.6 * SD
    assert small < 0.5 * across


def test_at_the_end_a_structure_must_stand_out_by_more():
    volume = _with_structure(0.9, 4, 5)
    settings = replace(Settings(), excess_sd=5.0)

    first = np.abs(_restored(volume, "small_structures", settings)).sum()
    end = np.abs(_restored(volume, "small_structures", settings, at_the_end=True)).sum()

    assert end < 0.5 * first


def test_the_mean_of_what_was_removed_comes_back():
    noisy = _noise() + np.float32(0.5 * SD)

    back = _restored(noisy, "means_and_bounds", replace(NOTHING, mean_px=12.0))

    assert back.mean() == pytest.approx(0.5 * SD, rel=0.1)
    assert back.std() < 0.1 * SD


def test_no_voxel_changes_by_more_than_the_bound():
    noisy = _noise()

    back = _restored(noisy, "means_and_bounds", replace(NOTHING, largest_change_sd=1.0))

    assert np.abs(noisy - back).max() <= measure_noise(noisy).sd.max() * 1.0001
