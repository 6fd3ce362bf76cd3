# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Faint detail that the fit lost comes back."""

from __future__ import annotations

import numpy as np

from nsn2n.stages.group_filter import group_filter


def test_faint_detail_comes_back(make_state, run_stage):
    rows, columns = np.indices((64, 64))
    truth = np.broadcast_to(100 + 5 * np.sin((columns + 4 * np.sin(rows / 9)) / 2.5), (8, 64, 64))
    volume = (truth + np.random.default_rng(0).normal(0, 5, truth.shape)).astype(np.float32)
    pilot = (100 + 0.5 * (truth - 100)).astype(np.float32)

    after = run_stage(group_filter(), make_state(volume, denoised=pilot.copy()))

    assert np.std(after.denoised - truth) < 0.7 * np.std(pilot - truth)
