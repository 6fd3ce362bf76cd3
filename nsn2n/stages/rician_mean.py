# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Subtracts the mean that Rician noise adds to magnitudes."""

from __future__ import annotations

import logging

from nsn2n._aliases import Array
from nsn2n.arrays.either import in_memory_of, stacked
from nsn2n.noise.blocks import block_sd, noise_sd_slice
from nsn2n.noise.no_signal import signal_shares
from nsn2n.noise.rician import channel_noise, without_bias
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["rician_mean"]

logger = logging.getLogger(__name__)


def rician_mean() -> Stage:
    """Return the stage; a volume with negative values is not a magnitude and is not changed."""
    return Stage("Rician mean", _subtract)


def _subtract(state: PipelineState, clock: StageClock) -> PipelineState:
    if float(state.filled.min()) < 0:
        logger.warning(
            "the volume holds negative values, so it is not a magnitude: the mean of the noise is not subtracted"
        )
        return state
    denoised = state.denoised

    def removed_sd(index: int) -> Array:
        return block_sd(state.filled[index] - denoised[index], None if state.valid is None else state.valid[index])

    removed_sd_blocks = stacked(for_each_slice(removed_sd, range(len(denoised))))
    channel = channel_noise(state.noise.blocks, denoised, removed_sd_blocks)

    blocks, without_signal = (in_memory_of(sd, denoised) for sd in (channel.blocks, channel.without_signal))

    def air_sd(index: int) -> Array:
        return noise_sd_slice(without_signal[index], denoised.shape[1:])

    for index, share_hw in enumerate(signal_shares(denoised, air_sd)):
        tissue_sd = channel.in_tissue * noise_sd_slice(blocks[index], denoised.shape[1:])
        denoised[index] = share_hw * without_bias(denoised[index], air_sd(index), tissue_sd)
    return state.measuring(rician_bias_taken=True)
