# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Replaces the denoised volume by non-local means of the noisy voxels, with the denoised volume as guide."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

from nsn2n.filters.guided_nlm import coarse_mean, step_for
from nsn2n.filters.guided_nlm import guided_mean as take_guided_mean
from nsn2n.stack.sampling import evenly_spread
from nsn2n.stages.clock import Cost, StageClock, share_of
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["guided_mean"]

_STEP_SLICES = 16
"""Slices on which the correlation of neighboring pixels is measured."""

_REACH_BEFORE_COARSE = 2
"""Reach of the guided mean in steps if the coarse one follows, which has a larger reach."""
_FIRST_MEAN = 0.45
"""Fraction of the time of both means that the first one takes."""


def guided_mean(*, coarse: bool) -> Stage:
    """Return the stage; ``coarse``: average again in wider steps if the noise of neighboring pixels is
    correlated."""
    return Stage("guided mean", partial(_average, coarse=coarse), Cost(progress=3.0, passes=2.0))


def _average(state: PipelineState, clock: StageClock, *, coarse: bool) -> PipelineState:
    guide, settings, noise_sd = state.denoised, state.settings.average, state.noise.floored
    step_px = state.step_px if state.step_px is not None else settings.step_px or _measured_step(state)
    coarse = coarse and step_px > 1
    if coarse and settings.reach is None:
        settings = replace(settings, reach=_REACH_BEFORE_COARSE)
    first = _FIRST_MEAN if coarse else 1.0
    where: dict[str, Any] = {"step_px": step_px, "valid": state.valid, "device": state.compute.device}
    take_guided_mean(state.filled, guide, noise_sd, settings, **where, progress=share_of(clock.progress, 0.0, first))
    if coarse:
        coarse_mean(guide, noise_sd, settings.coarse_sd, **where, progress=share_of(clock.progress, first, 1.0))
    return replace(state, step_px=step_px)


def _measured_step(state: PipelineState) -> int:
    sample = evenly_spread(len(state.denoised), _STEP_SLICES)
    return step_for(
        [state.filled[index] - state.denoised[index] for index in sample],
        [state.noise.floored(index) for index in sample],
    )
