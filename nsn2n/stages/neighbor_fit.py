# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fits a network to pairs of neighboring slices, and denoises the volume with it: NS-N2N itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

from nsn2n._aliases import Array
from nsn2n.arrays.either import empty_like, in_memory_of, namespace, on_device, on_host
from nsn2n.stages.clock import Cost, StageClock, share_of
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.training.fitting import MatchFunction, Problem, fit
from nsn2n.training.inference import denoised_batches
from nsn2n.training.match_refinement import MatchRefinement
from nsn2n.training.networks import build_network
from nsn2n.training.pretrained import load_start, starts_from_bundle
from nsn2n.training.slice_pairs import pairs_by_low_pass, pairs_by_noise

__all__ = ["neighbor_fit"]

_FIT_SHARE = 0.5
"""Fraction of the progress of this stage for the optimizer; the rest is for applying the network."""


def neighbor_fit(*, draft: bool) -> Stage:
    """Return the stage; ``draft``: what follows does not need a precise result."""
    cost = Cost(progress=4.0, passes=1.0, fits=True)
    return Stage("neighbor fit", partial(_fit_and_apply, draft=draft), cost)


def _fit_and_apply(state: PipelineState, clock: StageClock, *, draft: bool) -> PipelineState:
    settings, compute = state.settings, state.compute
    problem = _problem(state)
    network = build_network(settings.network).to(compute.device)
    if starts_from_bundle(settings.network):
        load_start(network, slices=1)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    pass_s = 0.0
    if clock.limited:
        started = time.perf_counter()
        next(denoised_batches(network, problem.slices[:1], problem.offset, problem.unit, compute))
        pass_s = len(state.noisy) * (time.perf_counter() - started)
    fitted = fit(
        network,
        problem,
        settings,
        compute,
        refine_matches=_match_refinement(state),
        draft=draft,
        deadline=clock.deadline(pass_s),
        progress=share_of(clock.progress, 0.0, _FIT_SHARE),
    )
    offset, unit = problem.offset, problem.unit
    del problem  # it holds a volume, and what follows may be called much later

    def again(other: PipelineState) -> PipelineState:
        return replace(other, denoised=_denoised(network, other, offset, unit))

    denoised = _denoised(network, state, offset, unit, share_of(clock.progress, _FIT_SHARE, 1.0))
    loss = fitted.loss
    return replace(state, denoised=denoised, loss=loss, pass_s=pass_s, again=again).measuring(
        matched_fraction=fitted.matched_fraction,
        steps=len(loss),
        final_loss=float(np.mean(loss[-50:])) if len(loss) else 0.0,
    )


def _denoised(
    network: nn.Module,
    state: PipelineState,
    offset: float,
    unit: float,
    tell: Callable[[float], None] | None = None,
) -> Array:
    """Return the output of the network for a volume, shape (D, H, W); ``tell`` is called with the fraction done."""
    xp = namespace(state.filled)
    denoised = empty_like(state.filled)
    slices = on_device(state.filled, state.compute.device)
    batches = denoised_batches(network, slices, offset, unit, state.compute, _error_scale(state, unit))
    for part, removed in batches:
        xp.subtract(state.filled[part], in_memory_of(removed, denoised) * unit, out=denoised[part])
        if tell is not None:
            tell(part.stop / len(denoised))
    return denoised


def _error_scale(state: PipelineState, unit: float) -> torch.Tensor | None:
    """Local noise sd in network units, shape (D, H, W), if errors are in units of the noise."""
    if state.settings.loss.units != "noise":
        return None
    noise_sd = on_device(state.noise.sd, state.compute.device)
    scale = on_device(empty_like(state.noise.sd), state.compute.device)
    return torch.clamp(noise_sd, min=state.noise.floor, out=scale).div_(unit)


def _problem(state: PipelineState) -> Problem:
    """Return the fitting problem: slices, units and matched regions."""
    settings, noise, partner = state.settings.match, state.noise, state.partner
    device = state.compute.device
    by_noise = state.settings.loss.units == "noise"
    low, high = float(state.filled.min()), float(state.filled.max())
    if settings.rule == "noise":
        matched = pairs_by_noise(state.filled, noise, settings, partner.distance)
    else:
        matched = in_memory_of(pairs_by_low_pass(on_host(state.filled), low, high, settings.tau), state.filled)
    if state.valid is not None:
        matched &= state.valid[partner.distance :]
        matched &= state.valid[: -partner.distance]
    return Problem(
        slices=on_device(state.filled, device),
        offset=0.0 if by_noise else low,
        unit=noise.median if by_noise else high - low,
        error_scale=_error_scale(state, noise.median),
        matched=on_device(matched, device),
        distance=partner.distance,
        correlation=partner.correlation,
        valid=None if state.valid is None else on_device(state.valid, device),
    )


def _match_refinement(state: PipelineState) -> Callable[[nn.Module], MatchFunction] | None:
    """Return the function that compares the neighbors again using the fitted network, if enabled in the settings."""
    settings = state.settings.match
    if settings.rule != "noise" or settings.refine_at >= 1:
        return None
    return lambda network: MatchRefinement(network, settings, state.compute)
