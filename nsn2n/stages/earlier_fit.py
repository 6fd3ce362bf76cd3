# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Denoises the volume by the fit of an earlier part of it."""

from __future__ import annotations

from dataclasses import replace

from nsn2n.arrays.either import copied
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["earlier_fit"]


def earlier_fit() -> Stage:
    """Return the stage, which replaces all fits."""
    return Stage("earlier fit", _apply, Cost(progress=2.0, passes=1.0))


def _apply(state: PipelineState, clock: StageClock) -> PipelineState:
    assert state.again is not None  # the state came with the fit
    return state.again(replace(state, denoised=copied(state.filled)))
