# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores faint detail by collaborative filtering of groups of similar block stacks.

The amount of noise to remove is determined on the simulated copy and on a part of the volume with faint discs:
as much as the limits on the losses of both allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from nsn2n.arrays.either import copied
from nsn2n.filters.block_transform import BLOCK_PX
from nsn2n.filters.group_filter import filter_groups
from nsn2n.modality import policy_of
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["group_filter"]

_LARGEST_FACTOR, _LEAST_FACTOR = 1.0, 0.005
_FACTOR_OF_PILOT = 3.0
"""Beyond that of the smallest error: noise of the pilot costs the filter that follows more than lost detail does."""
_STEP = 5.0
"""Ratio of the first two noise factors at which a loss is measured;"""
_MEASUREMENTS, _NEAR = 4, 0.01
"""at most so many follow the first, until a loss differs by less from its limit."""


def group_filter() -> Stage:
    """Return the stage."""
    return Stage("group filter", _filter, Cost(progress=5.0, passes=3.0))


def _filter(state: PipelineState, clock: StageClock) -> PipelineState:
    if state.copy is not None and policy_of(state.modality).ramp_filtered:
        state = _with_better_pilots(state, state.copy.fullness)
    factor = state.settings.groups.noise_factor
    if factor is None:
        factor = _noise_factor(state)
        state = _with_factor(state, factor)
    _filter_by(state, factor, clock.progress)
    return state


def _with_better_pilots(state: PipelineState, share: float) -> PipelineState:
    """Return the state with its results so far, and those for copies and discs, filtered once as pilots.

    The networks lose faint detail everywhere; filtered, a pilot has more of it, and less noise. In homogeneous tissue
    and around isolated structures it would have more noise than their result, so there ``share`` is 0. In PET so much
    coherent noise would go that the result could not be told from one in which structure is lost.
    """
    if not share:
        return state

    def better(of: PipelineState) -> PipelineState:
        filtered = replace(of, denoised=copied(of.denoised))
        _filter_by(filtered, _FACTOR_OF_PILOT)
        for mean_hw, networks_hw in zip(filtered.denoised, of.denoised, strict=True):  # to save memory
            mean_hw *= share
            mean_hw += (1 - share) * networks_hw
        return filtered

    probed = state.probed and replace(
        state.probed, plain=better(state.probed.plain), with_discs=better(state.probed.with_discs)
    )
    return replace(
        better(state),
        of_copy=state.of_copy and better(state.of_copy),
        of_blank=state.of_blank and better(state.of_blank),
        probed=probed,
    )


def _filter_by(state: PipelineState, factor: float, progress: Callable[[float], None] | None = None) -> None:
    filter_groups(
        state.filled,
        state.denoised,
        state.noise.floored,
        stacks=state.settings.groups.stacks,
        noise_factor=factor,
        spectrum=state.noise.spectra.get(BLOCK_PX),
        along=state.noise.along,
        valid=state.valid,
        device=state.compute.device,
        progress=progress,
    )


def _noise_factor(state: PipelineState) -> float:
    """Return the largest noise factor, up to that of the smallest error, whose losses are within the limits."""
    assert state.copy is not None  # the stage of the copy precedes this one
    groups, certainty = state.settings.groups, state.copy.certainty
    # Where some detail is certain, its loss is reported, and bounded.
    homogeneity = 0.0 if certainty else state.copy.homogeneity
    unsure = max(groups.unsure_lost, groups.detail_lost)
    unsure += homogeneity * (1 - unsure)
    by_detail = _largest_factor(
        partial(_detail_lost, state), unsure + certainty * (groups.detail_lost - unsure), _LARGEST_FACTOR
    )
    return _largest_factor(partial(_contrast_lost, state), groups.contrast_lost, by_detail)


def _largest_factor(lost: Callable[[float], float], most: float, largest: float) -> float:
    """Return the largest factor, at most 1, whose loss is within the limit.

    The loss is about linear in the factor's logarithm: a line through the two measured losses nearest to the limit
    gives the factor of the next measurement, until one is near enough, and in the end the result.
    """
    measured = [(largest, lost(largest))]
    if measured[0][1] <= most:
        return largest
    factor = largest / _STEP
    for _ in range(_MEASUREMENTS):
        measured.append((factor, lost(factor)))
        measured.sort(key=lambda point: abs(point[1] - most))
        factor = _on_line(measured[:2], most, largest)
        if abs(measured[0][1] - most) < _NEAR:
            break
    return factor


def _on_line(two: Sequence[tuple[float, float]], most: float, largest: float) -> float:
    """Return the factor at which a line through two factors and their losses reaches a loss, within bounds."""
    (factor, at_factor), (other, at_other) = two
    between = math.log(factor / other)
    slope = (at_factor - at_other) / between if between else 0.0
    wanted = factor * math.exp((most - at_factor) / slope) if slope > 0 else _LEAST_FACTOR
    return min(max(wanted, _LEAST_FACTOR), largest)


def _with_factor(state: PipelineState, factor: float) -> PipelineState:
    """Return the state with the factor, which also applies to what follows on the copy."""
    settings = replace(state.settings, groups=replace(state.settings.groups, noise_factor=factor))
    return replace(state, settings=settings).measuring(noise_factor=factor)


def _detail_lost(state: PipelineState, factor: float) -> float:
    """Return the fraction of the detail of the copy that is lost at a noise factor."""
    assert state.copy is not None  # the stage of the copy precedes this one
    assert state.of_copy is not None
    tried = replace(state.of_copy, denoised=copied(state.of_copy.denoised))
    _filter_by(tried, factor)
    return state.copy.detail_lost(tried.denoised)


def _contrast_lost(state: PipelineState, factor: float) -> float:
    """Return the fraction of contrast lost by faint discs at a noise factor; 0 if there are few discs."""

    def filtered(part: PipelineState) -> PipelineState:
        _filter_by(part, factor)
        return part

    kept = None if state.probed is None else state.probed.kept_by(filtered)
    return 0.0 if kept is None else kept.lost or 0.0
