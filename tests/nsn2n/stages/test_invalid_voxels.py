# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is no measurement comes back bit for bit."""

from __future__ import annotations

import numpy as np

from nsn2n.stages.invalid_voxels import invalid_voxels


def test_voxels_without_a_measurement_are_those_of_the_source(make_state, run_stage, noisy_dhw):
    volume, valid = noisy_dhw.copy(), np.ones(noisy_dhw.shape, bool)
    volume[2, :8] = np.nan
    valid[2, :8] = False

    after = run_stage(invalid_voxels(), make_state(volume, valid=valid))

    assert np.isnan(after.denoised[2, :8]).all()
    assert (after.denoised[valid] == 100).all()


def test_where_all_is_measured_nothing_changes(make_state, run_stage):
    assert (run_stage(invalid_voxels(), make_state()).denoised == 100).all()
