# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The first fit: noise goes, and what it did is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.settings import FitSettings, MatchSettings, NetworkSettings, Settings
from nsn2n.stages.neighbor_fit import neighbor_fit
from nsn2n.training.fitting import step_count


def test_noise_falls_and_steps_and_matches_are_reported(make_state, run_stage):
    settings = Settings(fit=FitSettings(steps=20, crop_px=32, stop_gain=None))
    before = make_state(settings=settings)
    fractions = []

    after = run_stage(neighbor_fit(draft=False), before, progress=lambda fraction, _: fractions.append(fraction))

    assert np.std(after.denoised) < 0.7 * np.std(before.noisy)
    assert len(after.loss) == after.measured.steps == 20
    assert after.measured.final_loss == pytest.approx(after.loss.mean())
    assert 0.5 < after.measured.matched_fraction <= 1
    assert not np.shares_memory(after.denoised, before.noisy)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1


@pytest.mark.parametrize("draft", [True, False])
def test_a_draft_takes_fewer_steps(make_state, run_stage, draft):
    fit = FitSettings(crop_px=8, pairs_per_step=1, stop_gain=None)
    settings = Settings(fit=fit, network=NetworkSettings(channels=2, levels=1))

    state = make_state(np.random.default_rng(0).normal(9, 1, (4, 16, 16)).astype(np.float32), settings=settings)
    after = run_stage(neighbor_fit(draft=draft), state)

    assert len(after.loss) == step_count(fit, 3, draft=draft)


def test_where_there_is_no_measurement_nothing_is_matched(make_state, run_stage):
    valid = np.ones((6, 40, 40), bool)
    valid[:, :20] = False

    after = run_stage(neighbor_fit(draft=False), make_state(valid=valid))

    assert after.measured.matched_fraction <= 0.75  # crops are drawn anywhere


def test_a_pass_is_timed_where_there_is_a_budget(make_state, run_stage):
    assert run_stage(neighbor_fit(draft=False), make_state(), budget_s=100.0).pass_s > 0
    assert run_stage(neighbor_fit(draft=False), make_state()).pass_s == 0


def test_the_rule_of_the_paper_matches_filtered_slices(make_state, run_stage):
    state = make_state()
    by_paper = replace(state.settings, match=MatchSettings(rule="lowpass", tau=1e-9))

    after = run_stage(neighbor_fit(draft=False), make_state(settings=by_paper))

    assert after.measured.matched_fraction < 0.1
