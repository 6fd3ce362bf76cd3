# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Measures what is kept of faint discs, by slices of the volume that go through its networks and filters again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from nsn2n._aliases import Float32Array
from nsn2n.modality import policy_of
from nsn2n.noise.level import NoiseMap
from nsn2n.probes import place_probes
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.replay import replayed
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["contrast_kept"]


def contrast_kept(filters: Sequence[Stage]) -> Stage:
    """Return the stage.

    Parameters
    ----------
    filters : sequence of Stage
        Those between the last fit and this one.
    """
    return Stage("contrast kept", partial(_measure, filters=filters), Cost(progress=2.0, passes=0.5))


def _measure(state: PipelineState, clock: StageClock, *, filters: Sequence[Stage]) -> PipelineState:
    if state.spacing_mm is None:
        return state
    probes = place_probes(
        state.denoised,
        state.noise,
        state.valid,
        state.spacing_mm,
        air=policy_of(state.modality).air,
        seed=state.settings.seed,
    )
    if not probes.discs:
        return state
    part = np.ascontiguousarray(state.filled[probes.place])
    plain = _denoised(state, part, probes.place, filters)
    clock.progress(0.5)
    probed = _denoised(state, probes.put_into(part), probes.place, filters)
    return replace(state, contrast=probes.measured(probed - plain))


def _denoised(
    state: PipelineState, part: Float32Array, place: tuple[slice, slice, slice], filters: Sequence[Stage]
) -> Float32Array:
    """What the networks and filters of this run make of other values in a part of the volume."""
    assert state.again is not None  # there is a fit in every run
    of_part = replace(
        state,
        noisy=part,
        filled=part,
        valid=None if state.valid is None else state.valid[place],
        noise=NoiseMap(state.noise.blocks, np.ascontiguousarray(state.noise.sd[place]), state.noise.median),
        denoised=part.copy(),
        prediction=None,
        copy=None,
        of_copy=None,
    )
    return replayed(state.again(of_part), filters).denoised
