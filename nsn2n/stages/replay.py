# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Runs stages of a run on another volume, without progress reports."""

from __future__ import annotations

from collections.abc import Sequence

from nsn2n.stages.clock import Clock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["replayed"]


def replayed(state: PipelineState, stages: Sequence[Stage]) -> PipelineState:
    """Return the state after the stages; the clock of the run is not updated."""
    clock = Clock([stage.cost for stage in stages])
    for index, stage in enumerate(stages):
        state = stage.run(state, clock.stage(index))
    return state
