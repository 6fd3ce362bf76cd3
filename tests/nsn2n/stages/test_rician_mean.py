# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The mean of noise is subtracted from magnitudes, and from nothing else."""

from __future__ import annotations

import numpy as np

from nsn2n.stages.rician_mean import rician_mean


def test_air_comes_near_to_0(make_state, run_stage):
    random = np.random.default_rng(0)
    noise = np.hypot(random.normal(0, 5, (6, 40, 40)), random.normal(0, 5, (6, 40, 40))).astype(np.float32)
    mean = np.full_like(noise, noise.mean())

    after = run_stage(rician_mean(), make_state(noise, denoised=mean.copy()))

    assert after.measured.rician_bias_taken
    assert after.denoised.mean() < 0.6 * mean.mean()


def test_a_volume_with_negative_values_is_no_magnitude(make_state, run_stage, noisy_dhw, caplog):
    state = make_state(noisy_dhw - 100)

    after = run_stage(rician_mean(), state)

    assert not after.measured.rician_bias_taken
    assert (after.denoised == 100).all()
    assert "not a magnitude" in caplog.text
