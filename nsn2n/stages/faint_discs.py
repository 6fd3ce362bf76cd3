# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Inserts faint discs into a part of the volume, so that later stages can measure how much contrast they retain."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from nsn2n._aliases import Array, Spacing
from nsn2n.arrays.either import contiguous, copied
from nsn2n.modality import policy_of
from nsn2n.probes import place_probes
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, ProbedPart, Stage

__all__ = ["faint_discs"]

_UNKNOWN_MM: Spacing = (1.0, 1.0, 1.0)
"""Spacing assumed for a volume without one."""


def faint_discs(*, bound_a_filter: bool) -> Stage:
    """Return the stage. It follows the last fit, which denoises the part too, with and without discs.

    Parameters
    ----------
    bound_a_filter : bool
        A filter needs the discs even if the spacing is not known; otherwise they are not reported without it.
    """
    return Stage("faint discs", partial(_put_in, bound_a_filter=bound_a_filter), Cost(progress=0.5, passes=0.3))


def _put_in(state: PipelineState, clock: StageClock, *, bound_a_filter: bool) -> PipelineState:
    if state.spacing_mm is None and not bound_a_filter:
        return state
    probes = place_probes(
        state.denoised,
        state.noise,
        state.valid,
        state.spacing_mm or _UNKNOWN_MM,
        air=policy_of(state.modality).air,
        seed=state.settings.seed,
    )
    if not probes.discs:
        return state
    part = contiguous(state.filled[probes.place])
    plain = _fitted(state, part, probes.place)
    clock.progress(0.5)
    return replace(state, probed=ProbedPart(probes, plain, _fitted(state, probes.put_into(part), probes.place)))


def _fitted(state: PipelineState, part: Array, place: tuple[slice, slice, slice]) -> PipelineState:
    """Return the result of this run's networks for other values in a part of the volume."""
    assert state.again is not None  # there is a fit in every run
    of_part = replace(
        state,
        noisy=part,
        filled=part,
        valid=None if state.valid is None else state.valid[place],
        noise=state.noise.part(place),
        denoised=copied(part),
        prediction=None,
        copy=None,
        of_copy=None,
        blank=None,
        of_blank=None,
    )
    return state.again(of_part)
