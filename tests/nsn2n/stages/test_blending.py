# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A part of the noise stays where that is asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.contrast_kept import ContrastKept, KeptCell
from nsn2n.stages.blending import blending


def test_the_strength_is_the_share_of_the_change(make_state, run_stage):
    state = make_state()
    kept = ContrastKept((KeptCell(5.0, 2.0, 0.6, 4, True),), ())
    state = replace(state, settings=replace(state.settings, strength=0.25), contrast=kept)

    after = run_stage(blending(), state)

    np.testing.assert_allclose(after.denoised, 0.75 * state.noisy + 25, rtol=1e-5)
    assert after.contrast.cells[0].kept == pytest.approx(0.9)
