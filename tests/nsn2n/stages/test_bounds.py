# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""No voxel changes by more than the bound, and no region's mean moves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nsn2n.stages.bounds import bounds


def test_no_voxel_changes_by_more_than_the_bound(make_state, run_stage):
    state = make_state()
    state = replace(state, settings=replace(state.settings, largest_change_sd=0.5, mean_px=None))

    change = np.abs(run_stage(bounds(), state).denoised - state.noisy)

    assert (change <= 0.5 * state.noise.sd + 1e-4).all()
    assert (change > 0.49 * state.noise.sd).any()


def test_the_mean_of_what_was_removed_is_restored(make_state, run_stage, noisy_dhw):
    state = make_state(denoised=np.full_like(noisy_dhw, 96))

    assert abs(run_stage(bounds(), state).denoised.mean() - 100) < 0.5
