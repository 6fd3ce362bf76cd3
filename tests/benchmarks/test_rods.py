# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Rods are found and measured where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from rods import edge_steepness, find_rods, rod_noise


def test_rods_noise_and_edges_of_a_disc_in_air():
    rows, columns = np.mgrid[:128, :128]
    inside = np.hypot(rows - 64, columns - 64) < 30
    smooth = np.where(inside, 100.0, -1000.0).astype(np.float32)[None].repeat(3, axis=0)
    rods = find_rods(smooth)
    assert len(rods.interiors) == len(rods.rims) == 3
    assert [z for z, _ in rods.within(1, 3).interiors] == [1, 2]
    noisy = smooth + np.random.default_rng(0).normal(0, 10, smooth.shape).astype(np.float32)
    sd, mean = rod_noise(noisy, rods)
    assert sd == pytest.approx(10, rel=0.05)
    assert mean == pytest.approx(100, abs=1)
    sharp = edge_steepness(smooth, rods)
    assert 0.3 * 1100 < sharp <= 1100
    assert edge_steepness(0.5 * smooth, rods) == pytest.approx(0.5 * sharp)
