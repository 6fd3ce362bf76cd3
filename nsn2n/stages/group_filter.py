# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Brings faint detail back, by groups of similar stacks of blocks.

How much of the noise the filter removes is found on the simulated copy: as much as leaves the detail asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

from nsn2n.filters.group_filter import filter_groups
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["group_filter"]

_FACTORS = (1.0, 0.2)
"""Noise factors at which the loss of detail is measured; it is about linear in their logarithm."""
_LEAST_FACTOR = 0.02


def group_filter() -> Stage:
    """Return the stage."""
    return Stage("group filter", _filter, Cost(progress=4.0, passes=2.0))


def _filter(state: PipelineState, clock: StageClock) -> PipelineState:
    factor = state.settings.groups.noise_factor
    if factor is None:
        factor = _noise_factor(state)
        state = _with_factor(state, factor)
    _filter_by(state, factor, clock.progress)
    return state


def _filter_by(state: PipelineState, factor: float, progress: Callable[[float], None] | None = None) -> None:
    filter_groups(
        state.filled,
        state.denoised,
        state.noise.floored,
        stacks=state.settings.groups.stacks,
        noise_factor=factor,
        valid=state.valid,
        device=state.compute.device,
        progress=progress,
    )


def _noise_factor(state: PipelineState) -> float:
    """Return the largest noise factor, up to that of the least error, that loses no more detail than asked."""
    assert state.copy is not None  # the stage of the copy comes before
    largest, smaller = _FACTORS
    groups = state.settings.groups
    unsure = max(groups.unsure_lost, groups.detail_lost)
    most = unsure + state.copy.certainty * (groups.detail_lost - unsure)
    lost = _lost_on_copy(state, largest)
    if lost <= most:
        return largest
    slope = (lost - _lost_on_copy(state, smaller)) / math.log(largest / smaller)
    wanted = largest * math.exp((most - lost) / slope) if slope > 0 else _LEAST_FACTOR
    return min(max(wanted, _LEAST_FACTOR), largest)


def _with_factor(state: PipelineState, factor: float) -> PipelineState:
    """Return the state with a factor that was found, for what follows on the copy too."""
    settings = replace(state.settings, groups=replace(state.settings.groups, noise_factor=factor))
    return replace(state, settings=settings).measuring(noise_factor=factor)


def _lost_on_copy(state: PipelineState, factor: float) -> float:
    assert state.copy is not None  # the stage of the copy comes before
    assert state.of_copy is not None
    tried = replace(state.of_copy, denoised=state.of_copy.denoised.copy())
    _filter_by(tried, factor)
    return state.copy.detail_lost(tried.denoised)
