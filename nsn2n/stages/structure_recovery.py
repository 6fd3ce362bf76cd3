# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores structures that were removed with the noise: small ones of one slice, faint ones of several."""

from __future__ import annotations

from functools import partial

from nsn2n.filters.structure_recovery import StructureRecovery
from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["small_structures", "structures_across"]


def small_structures(*, at_the_end: bool = False) -> Stage:
    """Return the stage for structures of one slice; ``at_the_end`` they must exceed a higher threshold."""
    name = "small structures at the end" if at_the_end else "small structures"
    return Stage(name, partial(_small, at_the_end=at_the_end))


def structures_across() -> Stage:
    """Return the stage for structures that extend over several slices."""
    return Stage("structures across slices", _across)


def _small(state: PipelineState, clock: StageClock, *, at_the_end: bool) -> PipelineState:
    recovery = StructureRecovery(state.filled, state.noise, state.settings)
    recovery.small_structures(state.denoised, at_the_end=at_the_end)
    return state


def _across(state: PipelineState, clock: StageClock) -> PipelineState:
    StructureRecovery(state.filled, state.noise, state.settings).structures_across(state.denoised)
    return state
