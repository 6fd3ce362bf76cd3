# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Simulates a copy of a part of the volume with known truth, so that later stages can measure what they lose."""

from __future__ import annotations

from dataclasses import replace

from nsn2n._aliases import Array
from nsn2n.arrays.either import copied
from nsn2n.modality import policy_of
from nsn2n.simulated_copy import simulated_copy as copy_of
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["simulated_copy"]

_BLANKS = 2
"""Copies without detail, whose noise the detail is compared with."""


def simulated_copy() -> Stage:
    """Return the stage. It follows the last fit, which denoises the copy too."""
    return Stage("simulated copy", _copy, Cost(progress=0.5, passes=0.3))


def _copy(state: PipelineState, clock: StageClock) -> PipelineState:
    copy = copy_of(
        state.filled,
        state.denoised,
        state.noise,
        state.valid,
        seed=state.settings.seed,
        device=state.compute.device,
    )

    def fitted(noisy: Array) -> PipelineState:
        assert state.again is not None  # there is a fit in every run
        of_part = replace(state, noisy=noisy, filled=noisy, valid=copy.valid, noise=copy.noise, denoised=copied(noisy))
        return state.again(of_part)

    of_copy = fitted(copy.noisy)
    copy = copy.sized_up(of_copy.denoised, state.compute.device)
    part, pilot = state.filled[copy.place], state.denoised[copy.place]
    knows_noise = policy_of(state.modality).ramp_filtered
    count = _BLANKS if copy.certainty < 1 else 1 if knows_noise else 0
    blanks = [copy.without_detail(pilot, state.settings.seed + 1 + index) for index in range(count)]
    of_blanks = [fitted(blank.noisy) for blank in blanks]
    if blanks:
        results = [of_blank.denoised for of_blank in of_blanks]
        copy = copy.compared(part, pilot, list(zip(blanks, results, strict=True)))
    state = replace(state, copy=copy, of_copy=of_copy)
    return replace(state, blank=blanks[0], of_blank=of_blanks[0]) if knows_noise else state
