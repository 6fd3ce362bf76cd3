# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reduces the residual noise, most of which is at edges, by collaborative filtering of groups of similar cubes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from nsn2n._aliases import Array
from nsn2n.arrays.either import float32, in_memory_of, stacked
from nsn2n.filters.cube_filter import filter_cubes
from nsn2n.noise.blocks import block_sd, noise_sd_slice
from nsn2n.noise.rician import block_means, channel_noise
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["cube_filter"]

_TAKEN_FOR_NOISE = 1.3
"""Largest noise in tissue relative to the noise removed so far: some is left. Neighbors that are far apart differ by
tissue, which would be mistaken for noise."""


_STEP_PX, _STEP_PX_OF_DRAFT = 2, 3
"""Step between the reference cubes."""


def cube_filter(*, draft: bool = False) -> Stage:
    """Return the stage; ``draft``: for the target of the last fit, for which half of the time is enough.

    In air and at its border the noise of magnitudes is that in tissue.
    """
    cost = Cost(progress=1.5, passes=0.7) if draft else Cost(progress=3.0, passes=1.5)
    return Stage("cube filter", partial(_filter, step_px=_STEP_PX_OF_DRAFT if draft else _STEP_PX), cost)


def _filter(state: PipelineState, clock: StageClock, *, step_px: int) -> PipelineState:
    settings, noise_sd = state.settings.cubes, _noise_sd(state)
    filter_cubes(
        state.filled,
        state.denoised,
        noise_sd,
        cubes=settings.cubes,
        noise_factor=settings.noise_factor,
        share=settings.share,
        along=state.noise.along,
        step_px=step_px,
        valid=state.valid,
        device=state.compute.device,
        progress=clock.progress,
    )
    return state


def _noise_sd(state: PipelineState) -> Callable[[int], Array]:
    """Return a function from slice index to the noise of one channel, shape (H, W)."""

    def removed_sd(index: int) -> Array:
        usable = None if state.valid is None else state.valid[index]
        return block_sd(state.filled[index] - state.denoised[index], usable)

    # Not those of the noise map, of which a simulated copy has only a part.
    blocks = np.asarray(block_means(state.noise.sd), dtype=np.float32)
    removed = stacked(for_each_slice(removed_sd, range(len(state.filled))))
    channel = channel_noise(blocks, state.denoised, removed, _TAKEN_FOR_NOISE)
    of_channel = in_memory_of(channel.blocks, state.denoised)

    def noise_sd(index: int) -> Array:
        channel_sd = channel.in_tissue * noise_sd_slice(of_channel[index], state.filled.shape[1:])
        return float32(channel_sd.clip(min=channel.in_tissue * state.noise.floor))

    return noise_sd
