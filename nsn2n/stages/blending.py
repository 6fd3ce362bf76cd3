# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Blends the denoised volume with its source if only a fraction of the noise is to be removed."""

from __future__ import annotations

from dataclasses import replace

from nsn2n.filters.blending import blend
from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["blending"]


def blending() -> Stage:
    """Return the stage; `Settings.strength` is the fraction removed."""
    return Stage("blending", _blend)


def _blend(state: PipelineState, clock: StageClock) -> PipelineState:
    strength = state.settings.strength
    blend(state.noisy, state.denoised, strength)
    return replace(state, contrast=state.contrast and state.contrast.blended(strength))
