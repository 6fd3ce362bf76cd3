# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reduces the residual noise at edges by collaborative filtering of groups of similar blocks."""

from __future__ import annotations

from nsn2n.filters.edge_filter import filter_edges
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["edge_filter"]


def edge_filter() -> Stage:
    """Return the stage."""
    return Stage("edge filter", _filter, Cost(progress=2.0, passes=1.0))


def _filter(state: PipelineState, clock: StageClock) -> PipelineState:
    filter_edges(
        state.filled,
        state.denoised,
        state.noise.floored,
        state.settings.edges,
        valid=state.valid,
        device=state.compute.device,
        progress=clock.progress,
    )
    return state
