# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Mixes the result of the multislice network with the mean that it guided."""

from __future__ import annotations

from dataclasses import replace

from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["mixing"]


def mixing() -> Stage:
    """Return the stage; `RefitSettings.share` is the weight of the network's result."""
    return Stage("mixing", _mix)


def _mix(state: PipelineState, clock: StageClock) -> PipelineState:
    if state.prediction is not None:
        share = state.settings.refit.share
        for averaged_hw, predicted_hw in zip(state.denoised, state.prediction, strict=True):
            averaged_hw += share * (predicted_hw - averaged_hw)
    return replace(state, prediction=None)
