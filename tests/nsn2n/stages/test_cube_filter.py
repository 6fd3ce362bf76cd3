# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise that is left falls, and what neighbors differ by is not taken for noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.settings import CubeSettings, Settings
from nsn2n.stages.cube_filter import cube_filter

SHAPE = (6, 48, 48)


@pytest.mark.parametrize("draft", [False, True])
def test_noise_that_is_left_falls(make_state, run_stage, draft):
    noise = np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    state = make_state(100 + noise, denoised=100 + 0.2 * noise)

    after = run_stage(cube_filter(draft=draft), state)

    assert after.denoised.std() < 0.7 * 0.2 * 5


def test_settings_decide(make_state, run_stage):
    noise = np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    settings = Settings(cubes=CubeSettings(share=1.0))

    after = run_stage(cube_filter(), make_state(100 + noise, denoised=100 + 0.4 * noise, settings=settings))

    np.testing.assert_allclose(after.denoised, 100 + 0.4 * noise, rtol=1e-5)


def test_what_neighbors_differ_by_is_not_taken_for_noise(make_state, run_stage):
    """Slices far apart: their anatomy differs by ten times the noise, of which little was removed."""
    random = np.random.default_rng(0)
    truth = (200 + random.normal(0, 10, SHAPE)).astype(np.float32)
    noise = random.normal(0, 1, SHAPE).astype(np.float32)
    state = make_state(truth + noise, denoised=truth + 0.5 * noise)
    assert state.noise.median > 8

    after = run_stage(cube_filter(), state)

    assert np.std(after.denoised - truth) < 1.5


def test_a_part_of_a_volume_is_filtered_by_the_noise_of_that_part(make_state, run_stage):
    noise = np.random.default_rng(0).normal(0, 5, (6, 48, 80)).astype(np.float32)
    whole = make_state(300 + noise, denoised=300 + 0.2 * noise)
    part = np.s_[:, 8:, 30:]
    local = replace(whole.noise, sd=np.ascontiguousarray(whole.noise.sd[part]))
    filled = np.ascontiguousarray(whole.filled[part])
    copied = replace(
        whole, noisy=filled, filled=filled, noise=local, denoised=np.ascontiguousarray(whole.denoised[part])
    )

    before = copied.denoised.std()

    after = run_stage(cube_filter(), copied)

    assert after.denoised.std() < 0.95 * before
