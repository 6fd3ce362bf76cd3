# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores voxels that hold no measurement, bit for bit."""

from __future__ import annotations

from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["invalid_voxels"]


def invalid_voxels() -> Stage:
    """Return the stage."""
    return Stage("invalid voxels", _restore)


def _restore(state: PipelineState, clock: StageClock) -> PipelineState:
    if state.valid is not None:
        # Slice by slice, to save memory.
        for denoised_hw, noisy_hw, valid_hw in zip(state.denoised, state.noisy, state.valid, strict=True):
            denoised_hw[~valid_hw] = noisy_hw[~valid_hw]
    return state
