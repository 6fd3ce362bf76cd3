# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Brings faint detail back, by groups of similar blocks."""

from __future__ import annotations

from nsn2n.filters.certain_structure import restore_certain_structure
from nsn2n.filters.group_filter import filter_groups
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["group_filter"]


def group_filter() -> Stage:
    """Return the stage."""
    return Stage("group filter", _filter, Cost(progress=4.0, passes=2.0))


def _filter(state: PipelineState, clock: StageClock) -> PipelineState:
    filter_groups(
        state.filled,
        state.denoised,
        state.noise.floored,
        state.settings.groups,
        valid=state.valid,
        device=state.compute.device,
        progress=clock.progress,
    )
    restore_certain_structure(state.filled, state.denoised, state.noise.floored)
    return state
