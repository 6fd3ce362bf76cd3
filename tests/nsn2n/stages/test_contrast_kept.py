# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured is what the fit and the filters do, and the volume stays as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.stages.contrast_kept import contrast_kept
from nsn2n.stages.state import Stage


def halving(other, clock):
    other.denoised[:] = 100 + (other.denoised - 100) / 2  # in place, as filters do
    return other


def test_fit_and_filters_are_measured_together(with_faint_discs, run_stage):
    before = with_faint_discs.denoised.copy()

    first, second = (run_stage(contrast_kept([Stage("halved", halving)]), with_faint_discs) for _ in range(2))

    assert [cell.kept for cell in first.contrast.cells] == pytest.approx([0.25] * 9, abs=1e-3)
    assert second.contrast.cells == first.contrast.cells
    assert first.probed is None
    np.testing.assert_array_equal(first.denoised, before)


def test_filters_have_the_settings_of_the_run(with_faint_discs, run_stage):
    seen = []
    look = Stage("look", lambda other, clock: seen.append(other.settings.seed) or other)
    later = replace(with_faint_discs, settings=replace(with_faint_discs.settings, seed=7))

    run_stage(contrast_kept([look]), later)

    assert seen == [7, 7]


def test_nothing_is_reported_without_a_spacing(with_faint_discs, run_stage):
    after = run_stage(contrast_kept([]), replace(with_faint_discs, spacing_mm=None))

    assert (after.contrast, after.probed) == (None, None)
