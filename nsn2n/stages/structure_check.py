# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Checks whether what was removed looks like noise, and how much detail a simulated copy lost."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from nsn2n.stages.clock import StageClock
from nsn2n.stages.replay import replayed
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.structure_check import check_structure

__all__ = ["structure_check"]

logger = logging.getLogger(__name__)


def structure_check(filters: Sequence[Stage] = ()) -> Stage:
    """Return the stage. It comes before the mean of Rician noise is subtracted, since that mean follows the anatomy.

    Parameters
    ----------
    filters : sequence of Stage
        Those between the stage of the simulated copy and this one, which are now applied to the copy.
    """
    return Stage("structure check", partial(_check, filters=filters))


def _check(state: PipelineState, clock: StageClock, *, filters: Sequence[Stage]) -> PipelineState:
    state = _with_losses(state, filters)
    structure = check_structure(
        state.filled,
        state.denoised,
        state.noise.sd,
        state.settings.structure,
        floor=state.noise.floor,
        valid=state.valid,
        detail_lost=state.measured.detail_lost,
        contrast_lost=None if state.contrast is None else state.contrast.lost,
    )
    if structure.verdict != "pass":
        logger.warning("what was removed does not look like noise alone: %s", structure.summary())
    return replace(state, structure=structure)


def _with_losses(state: PipelineState, filters: Sequence[Stage]) -> PipelineState:
    """Return the state with what was measured on its copy, which is no longer needed."""
    if state.copy is None or state.of_copy is None:
        return state

    def filtered(of: PipelineState) -> PipelineState:
        return replayed(replace(of, settings=state.settings, step_px=state.step_px), filters)

    of_copy = filtered(state.of_copy)
    lost = max(0.0, state.copy.detail_lost(of_copy.denoised)) if state.copy.has_detail else None
    left = state.copy.noise_left(of_copy.denoised)
    if state.blank is not None and state.of_blank is not None:
        # The copy is taken where most detail is, and there a filter leaves more noise than elsewhere.
        left = 0.5 * (left + state.blank.noise_left(filtered(state.of_blank).denoised))
    state = state.measuring(detail_lost=lost, noise_left=left)
    return replace(state, copy=None, of_copy=None, blank=None, of_blank=None, probed=None)
