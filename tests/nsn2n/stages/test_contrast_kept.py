# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured is what the fit and the filters do, and the volume stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.stages.contrast_kept import contrast_kept
from nsn2n.stages.state import Stage


@pytest.fixture
def state(make_state):
    volume = (100 + 5 * np.random.default_rng(0).standard_normal((8, 160, 160))).astype(np.float32)
    state = make_state(volume, denoised=np.full_like(volume, 100))
    return replace(
        state, spacing_mm=(2.0, 1.0, 1.0), again=lambda other: replace(other, denoised=100 + (other.filled - 100) / 2)
    )


def test_fit_and_filters_are_measured_together(state, run_stage):
    halved = Stage("halved", lambda other, clock: replace(other, denoised=100 + (other.denoised - 100) / 2))

    after = run_stage(contrast_kept([halved]), state)

    assert [cell.kept for cell in after.contrast.cells] == pytest.approx([0.25] * 9, abs=1e-3)
    np.testing.assert_array_equal(after.denoised, state.denoised)


def test_nothing_is_measured_without_a_spacing_or_room(state, run_stage):
    assert run_stage(contrast_kept([]), replace(state, spacing_mm=None)).contrast is None
    assert run_stage(contrast_kept([]), replace(state, spacing_mm=(2.0, 0.02, 0.02))).contrast is None
