# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores the local mean of what was removed, and bounds the change of each voxel."""

from __future__ import annotations

from nsn2n.filters.structure_recovery import StructureRecovery
from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["bounds"]


def bounds() -> Stage:
    """Return the stage; its limits are `Settings.mean_px` and `Settings.largest_change_sd`."""
    return Stage("bounds", _restrain)


def _restrain(state: PipelineState, clock: StageClock) -> PipelineState:
    StructureRecovery(state.filled, state.noise, state.settings).means_and_bounds(state.denoised)
    return state
