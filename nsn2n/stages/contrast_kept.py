# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Measures the contrast retention of faint discs in a part of the volume, which passes through the same filters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.replay import replayed
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["contrast_kept"]


def contrast_kept(filters: Sequence[Stage]) -> Stage:
    """Return the stage.

    Parameters
    ----------
    filters : sequence of Stage
        Those between the stage of faint discs and this one.
    """
    return Stage("contrast kept", partial(_measure, filters=filters), Cost(progress=1.5, passes=0.3))


def _measure(state: PipelineState, clock: StageClock, *, filters: Sequence[Stage]) -> PipelineState:
    if state.probed is None or state.spacing_mm is None:
        return replace(state, probed=None)

    def filtered(part: PipelineState) -> PipelineState:
        return replayed(replace(part, settings=state.settings, step_px=state.step_px), filters)

    return replace(state, contrast=state.probed.kept_by(filtered), probed=None)
