# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The stage that applies an earlier fit leaves what it is given as it was."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nsn2n.pipeline import measured_state
from nsn2n.runtime.compute import choose_compute
from nsn2n.settings import Settings
from nsn2n.stages.clock import Clock
from nsn2n.stages.earlier_fit import earlier_fit


def halved(state):
    state.denoised[...] *= 0.5
    return state


def test_the_fit_is_applied_to_a_copy():
    volume = np.random.default_rng(0).normal(0, 1, (4, 32, 32)).astype(np.float32)
    given = volume.copy()
    state = replace(measured_state(volume, None, None, Settings(), choose_compute("cpu")), again=halved)
    stage = earlier_fit()
    result = stage.run(state, Clock([stage.cost]).stage(0))
    assert np.array_equal(result.denoised, 0.5 * given)
    assert np.array_equal(volume, given)
