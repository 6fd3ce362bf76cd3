# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Lowers the noise that is left, and most of it at edges, by groups of similar cubes."""

from __future__ import annotations

import numpy as np

from nsn2n._aliases import Float32Array
from nsn2n.filters.cube_filter import filter_cubes
from nsn2n.noise.level import noise_sd_slice
from nsn2n.noise.rician import channel_noise_of
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["cube_filter"]


def cube_filter() -> Stage:
    """Return the stage. In air and at its border the noise of magnitudes counts as it is in tissue."""
    return Stage("cube filter", _filter, Cost(progress=3.0, passes=1.5))


def _filter(state: PipelineState, clock: StageClock) -> PipelineState:
    settings = state.settings.cubes
    blocks = channel_noise_of(state.noise.sd, state.denoised)

    def noise_sd(index: int) -> Float32Array:
        channel_sd = noise_sd_slice(blocks[index], state.filled.shape[1:])
        return np.asarray(np.maximum(channel_sd, state.noise.floor), dtype=np.float32)

    filter_cubes(
        state.filled,
        state.denoised,
        noise_sd,
        cubes=settings.cubes,
        noise_factor=settings.noise_factor,
        share=settings.share,
        valid=state.valid,
        device=state.compute.device,
        progress=clock.progress,
    )
    return state
