# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise at edges falls, and elsewhere nothing changes."""

from __future__ import annotations

import numpy as np

from nsn2n.stages.edge_filter import edge_filter


def test_noise_falls_at_edges_only(make_state, run_stage):
    rows, columns = (np.arange(64) - 31.7 for _ in range(2))
    truth = np.clip(20 - np.hypot(rows[:, None], columns), -1, 1) * 100
    at_edge = np.abs(truth) < 100
    noise = np.random.default_rng(0).normal(0, 5, (8, 64, 64))
    volume = (truth + noise).astype(np.float32)
    # As a guided mean leaves it: the noise stays at the edge, where a voxel is like few others.
    guide = np.where(at_edge, truth + noise, truth).astype(np.float32)

    after = run_stage(edge_filter(), make_state(volume, denoised=guide.copy()))

    before_sd, after_sd = (np.std((result - truth)[:, at_edge]) for result in (guide, after.denoised))
    assert after_sd < 0.95 * before_sd
    np.testing.assert_array_equal(after.denoised[:, :4, :4], guide[:, :4, :4])
