# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Structures come back at the places where they were removed."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.stages.structure_recovery import small_structures, structures_across


@pytest.mark.parametrize(
    ("stage", "slices", "contrast"),
    [
        (small_structures(), [3], 20.0),
        (small_structures(at_the_end=True), [3], 30.0),
        (structures_across(), range(6), 6.0),
    ],
)
def test_a_structure_that_was_removed_comes_back_in_place(make_state, run_stage, noisy_dhw, stage, slices, contrast):
    volume = noisy_dhw.copy()
    for index in slices:
        volume[index, 16:24, 16:24] += contrast

    state = make_state(volume)
    after = run_stage(stage, state)

    assert after.denoised is state.denoised
    assert after.denoised[3, 18:22, 18:22].mean() - 100 > 0.5 * contrast
    assert np.abs(after.denoised[3, :8, :8] - 100).mean() < 1


def test_each_stage_has_a_name_of_its_own():
    names = [stage.name for stage in (small_structures(), small_structures(at_the_end=True), structures_across())]

    assert len(set(names)) == 3
