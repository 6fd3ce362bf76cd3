# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What stages hand on."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest

from nsn2n.stages import Stage
from nsn2n.stages.clock import Cost


def test_a_state_stays_as_it_is_and_measuring_makes_another(make_state):
    state = make_state()

    more = state.measuring(steps=7)

    assert (state.measured.steps, more.measured.steps) == (0, 7)
    assert more.measured.noise_sd_median == state.measured.noise_sd_median == pytest.approx(5, rel=0.1)
    assert more.denoised is state.denoised
    with pytest.raises(FrozenInstanceError, match="denoised"):
        state.denoised = state.noisy


def test_a_measurement_that_is_none_is_refused(make_state):
    with pytest.raises(TypeError, match="blur"):
        make_state().measuring(blur=1)


def test_a_stage_costs_nothing_unless_it_says_so():
    assert Stage("nothing", lambda state, clock: state).cost == Cost()
