# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a network with several slices as input to the result so far, and replaces that by its output.

A better target makes a better network: the draft is better than a result from single slices, and the final fit
continues with the network of the draft.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from nsn2n.filters.structure_recovery import StructureRecovery
from nsn2n.stages.clock import Cost, StageClock, share_of
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.training.multislice_fit import MultisliceFit

__all__ = ["draft_fit", "final_fit"]

_FIT_SHARE = 0.75
"""Fraction of the time of this stage that the optimizer takes."""


def draft_fit() -> Stage:
    """Return the stage before the target is recomputed."""
    return Stage("multislice draft", partial(_fit, draft=True), Cost(progress=3.0, passes=1.5, fits=True))


def final_fit() -> Stage:
    """Return the stage that runs the remaining steps; its network is applied in two directions."""
    return Stage("multislice fit", partial(_fit, draft=False), Cost(progress=5.0, passes=2.5, fits=True))


def _fit(state: PipelineState, clock: StageClock, *, draft: bool) -> PipelineState:
    settings = state.settings.refit
    multislice = state.multislice or MultisliceFit(state.noise.median, state.settings, state.compute)
    taken = multislice.fit(
        state.filled,
        state.denoised,
        state.noise,
        settings.draft_steps if draft else settings.steps - settings.draft_steps,
        valid=state.valid,
        deadline=clock.deadline(state.pass_s),
        progress=share_of(clock.progress, 0.0, _FIT_SHARE),
    )
    tell = share_of(clock.progress, _FIT_SHARE, 1.0)
    state = _applied(multislice, state, with_rotation=not draft, progress=tell)
    again = partial(_applied, multislice, with_rotation=not draft)
    return replace(state, multislice=multislice, again=again).measuring(refit_steps=state.measured.refit_steps + taken)


def _applied(
    multislice: MultisliceFit,
    state: PipelineState,
    *,
    with_rotation: bool,
    progress: Callable[[float], None] | None = None,
) -> PipelineState:
    """Replace the denoised values of a volume by the output of the network."""
    predicted = multislice.denoise(state.filled, state.noise, with_rotation=with_rotation, progress=progress)
    StructureRecovery(state.filled, state.noise, state.settings).small_structures(predicted)
    state.denoised[...] = predicted
    return replace(state, prediction=predicted)
