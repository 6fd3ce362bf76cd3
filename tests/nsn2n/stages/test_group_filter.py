# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Faint detail that the fit lost comes back, as much of it as is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.modality import Modality
from nsn2n.settings import GroupSettings, Settings
from nsn2n.stages.faint_discs import faint_discs
from nsn2n.stages.group_filter import _contrast_lost, _with_better_pilots, group_filter
from nsn2n.stages.simulated_copy import simulated_copy

SHAPE = (8, 64, 64)


def folds(contrast=10.0):
    z, y, x = np.indices(SHAPE)
    return (100 + contrast * np.sin((x + 4 * np.sin(y / 9) + 0.3 * z) / 2.5)).astype(np.float32)


def blurred(other):
    return replace(other, denoised=ndimage.gaussian_filter(other.filled, (0, 1.5, 1.5)))


def filtered(make_state, run_stage, truth, modality=None, **groups):
    volume = truth + np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    state = replace(make_state(volume, settings=Settings(groups=GroupSettings(**groups))), modality=modality)
    before = run_stage(simulated_copy(), replace(blurred(state), again=blurred))
    return volume, before, run_stage(group_filter(), before)


def lost(removed, truth):
    detail = truth - ndimage.gaussian_filter(truth, (0, 6, 6))
    return float((removed * detail).sum() / np.square(detail).sum())


def test_faint_detail_comes_back(make_state, run_stage):
    truth = folds(5.0)
    volume = truth + np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    pilot = (100 + 0.5 * (truth - 100)).astype(np.float32)
    settings = Settings(groups=GroupSettings(noise_factor=0.5))

    after = run_stage(group_filter(), make_state(volume, denoised=pilot.copy(), settings=settings))

    assert np.std(after.denoised - truth) < 0.7 * np.std(pilot - truth)
    assert after.measured.noise_factor is None


@pytest.mark.parametrize("most", [0.01, 0.02])
def test_no_more_is_lost_than_asked(make_state, run_stage, most):
    truth = folds(5.0)

    volume, before, after = filtered(make_state, run_stage, truth, detail_lost=most)

    assert 0.005 <= after.measured.noise_factor < 1
    assert after.settings.groups.noise_factor == after.measured.noise_factor
    assert lost(volume - after.denoised, truth) < most + 0.04
    # What is measured on the copy is left as it was, for the check.
    np.testing.assert_array_equal(after.of_copy.denoised, before.of_copy.denoised)


def test_where_what_is_faint_may_be_noise_only_a_part_of_it_may_go(make_state, run_stage):
    truth = folds(1.2)

    _, before, careful = filtered(make_state, run_stage, truth)
    _, _, free = filtered(make_state, run_stage, truth, unsure_lost=1.0)

    assert before.copy.certainty < 0.9
    assert before.copy.homogeneity < 0.2
    assert careful.measured.noise_factor < 0.5
    assert free.measured.noise_factor == 1
    assert np.std(free.denoised - truth) < np.std(careful.denoised - truth) < 0.8 * 5


def test_homogeneous_tissue_has_no_detail_to_lose(make_state, run_stage):
    flat = np.full(SHAPE, 100, np.float32)

    _, before, after = filtered(make_state, run_stage, flat)

    assert before.copy.certainty == 0
    assert before.copy.homogeneity > 0.4
    assert after.measured.noise_factor > 0.9
    assert np.std(after.denoised - flat) < 0.3 * 5


@pytest.mark.parametrize("most", [0.08, 0.12])
def test_faint_discs_lose_no_more_than_asked(make_state, run_stage, most):
    volume = (100 + 5 * np.random.default_rng(0).standard_normal((8, 160, 160))).astype(np.float32)
    settings = Settings(groups=GroupSettings(unsure_lost=1.0, contrast_lost=most))
    state = replace(blurred(make_state(volume, settings=settings)), again=blurred, spacing_mm=(2.0, 1.0, 1.0))
    before = run_stage(faint_discs(bound_a_filter=True), run_stage(simulated_copy(), state))

    after = run_stage(group_filter(), before)
    free = run_stage(group_filter(), replace(before, probed=None, denoised=blurred(state).denoised))

    factor = after.measured.noise_factor
    assert 0.02 < factor < free.measured.noise_factor == 1
    assert _contrast_lost(before, 1.0) > most
    assert _contrast_lost(before, factor) == pytest.approx(most, abs=0.02)
    assert np.std(free.denoised) < np.std(after.denoised) < 4


def test_a_pilot_of_tissue_full_of_detail_is_filtered_first(make_state, run_stage):
    truth = folds(5.0)
    volume = truth + np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    state = replace(make_state(volume, settings=Settings()), again=blurred)
    before = run_stage(simulated_copy(), blurred(state))
    pilot, of_copy = before.denoised.copy(), before.of_copy.denoised.copy()

    same = _with_better_pilots(before, 0.0)
    better = _with_better_pilots(before, 1.0)

    assert same is before
    assert before.copy.fullness > 0.9
    assert np.std(better.denoised - truth) < 0.8 * np.std(pilot - truth)
    assert np.std(better.of_copy.denoised - before.copy.truth) < 0.8 * np.std(of_copy - before.copy.truth)
    np.testing.assert_array_equal(before.of_copy.denoised, of_copy)


@pytest.mark.parametrize(("modality", "better"), [(Modality.CT, True), (Modality.PT, False), (None, False)])
def test_only_in_ct_is_the_pilot_filtered_first(make_state, run_stage, modality, better):
    _, before, after = filtered(make_state, run_stage, folds(5.0), modality=modality)

    assert np.any(after.of_copy.denoised != before.of_copy.denoised) == better
    if better:
        assert np.any(after.of_blank.denoised != before.of_blank.denoised)
