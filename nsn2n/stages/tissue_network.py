# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Averages the result of the fit and the output of a trained network, whose input is five slices.

The fit is adapted to this volume's noise; the other network, trained on random faint tissue, loses less of what is
small or faint, and hardly anything of a spot in one slice.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from nsn2n.filters.group_filter import lost_contrast
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.training.inference import denoised_windows
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.pretrained import TISSUE_SLICES, load_tissue

__all__ = ["tissue_network"]


def tissue_network() -> Stage:
    """Return the stage. What exceeds the noise keeps its contrast in the output of the trained network."""
    return Stage("tissue network", _run, Cost(progress=3.0, passes=1.2))


def _run(state: PipelineState, clock: StageClock) -> PipelineState:
    shape, compute = state.settings.network, state.compute
    network = ResidualUNet(shape.channels, shape.levels, shape.detail_px, TISSUE_SLICES)
    load_tissue(network)
    network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    fit = state.again
    assert fit is not None  # the fit precedes this stage
    unit = state.noise.median

    def mixed(fitted: PipelineState, clock: StageClock | None = None) -> PipelineState:
        slices = denoised_windows(network, fitted.filled, fitted.noise, unit, compute, slices=TISSUE_SLICES)
        for index, predicted_hw in slices:
            mean_hw = 0.5 * (fitted.denoised[index] + predicted_hw)
            kept_hw = lost_contrast(predicted_hw, mean_hw, fitted.noise.floored(index))
            fitted.denoised[index] = mean_hw + kept_hw
            if clock is not None:
                clock.progress((index + 1) / len(fitted.denoised))
        return fitted

    return replace(mixed(state, clock), again=lambda other: mixed(fit(other)))
