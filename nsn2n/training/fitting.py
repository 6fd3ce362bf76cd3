# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The fit: one network, one volume, pairs of neighboring crops, until the steps are done."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nsn2n.errors import VolumeError
from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads
from nsn2n.settings import FitSettings, LossSettings, Settings
from nsn2n.training.crops import gathered
from nsn2n.training.inference import denoise_slices
from nsn2n.training.losses import (
    independent_noise,
    independent_targets,
    interslice_continuity_loss,
    reconstruction_loss,
    regional_consistency_loss,
)
from nsn2n.training.optimizer import Rates, one_cycle
from nsn2n.training.parts import Part, crop_shares, is_split, split
from nsn2n.training.steps import steps_of

__all__ = ["Fitted", "MatchFunction", "Plateau", "Problem", "fit", "optimize", "step_count"]

_WATCHED_PAIRS = 16
"""Crops of pairs on which a fit is monitored; they are fixed, so that small changes are visible."""
_STEPS_BETWEEN_LOOKS = 50
_FEWEST_STEPS = 20
_STEPS = 400
"""Default maximum of steps: after these, 100 more improve the result by less than 0.1 dB."""
_STEPS_OF_DRAFT = 80
"""The same if what follows needs no more precise result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """The data to which a network is fitted."""

    slices: Tensor
    """Shape (D, H, W), float32, finite; in the unit of the volume."""
    offset: float
    """Subtracted from the slices before the network sees them."""
    unit: float
    """Divides the slices before the network sees them: the median noise sd, or the data range."""
    error_scale: Tensor | None
    """Shape (D, H, W), float32, > 0: local noise sd in multiples of ``unit``, by which errors are divided, and which
    is input of the network; None: 1 everywhere."""
    matched: Tensor
    """Shape (D - distance, H, W), bool: the weight matrices W_i."""
    distance: int = 1
    """Slices from a slice to its neighbor, its training target."""
    correlation: float = 0.0
    """Of the noise of a slice and its neighbor."""
    valid: Tensor | None = None
    """Shape (D, H, W), bool: voxels to train on when neighbors are compared again; None: all. Included in W_i."""


class Fitted(NamedTuple):
    """Record of a fit."""

    loss: NDArray[np.float32]
    """Shape (steps,): the loss at each step."""
    matched_fraction: float
    """Fraction of the voxels trained on, of those drawn since the neighbors were last compared."""


MatchFunction = Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]
"""Takes crops of two neighbors and their noise sd (None: 1), shape (B, 1, h, w); returns where they are matched."""


def step_count(settings: FitSettings, pairs: int, *, draft: bool = False) -> int:
    """Return the maximum number of optimizer steps; an epoch uses each pair once.

    Parameters
    ----------
    settings : FitSettings
    pairs : int
        Pairs of neighbors in the volume.
    draft : bool
        Whether a second fit or the filter of groups follows, which do not need a precise first result.
    """
    if settings.steps is not None:
        return settings.steps
    if settings.epochs is not None:
        return settings.epochs * math.ceil(pairs / settings.pairs_per_step)
    return _STEPS_OF_DRAFT if draft else _STEPS


def fit(
    network: nn.Module,
    problem: Problem,
    settings: Settings,
    compute: Compute,
    refine_matches: Callable[[nn.Module], MatchFunction] | None = None,
    draft: bool = False,
    deadline: float = math.inf,
    progress: Callable[[float], None] | None = None,
) -> Fitted:
    """Fit a network to a volume, in place.

    Parameters
    ----------
    network : Module
        (B, 1, H, W) in, the same out.
    problem : Problem
    settings : Settings
    compute : Compute
        Device and precision.
    refine_matches : callable, optional
        Called once, after ``settings.match.refine_at`` of the steps, with the network as it would be returned then;
        returns the function that compares the crops of neighbors from then on.
    draft : bool
        As in :func:`step_count`.
    deadline : float, optional
        Stop then, in seconds of `time.perf_counter`, but not before the 20th step.
    progress : callable, optional
        Called with the fraction of steps done.

    Returns
    -------
    Fitted

    Raises
    ------
    VolumeError
        If the loss stops being finite.
    """
    steps = step_count(settings.fit, problem.matched.shape[0], draft=draft)
    refine_step = math.ceil(settings.match.refine_at * steps) if refine_matches is not None else steps
    sampler = _PairSampler(problem, settings.fit, settings.seed)
    threads = KeptThreads()

    def of_batch() -> Tensor:
        return _loss(network, sampler.batch(), settings.loss, compute, problem.correlation)

    whole = [of_batch]

    def loss(step: int, so_far: nn.Module) -> Sequence[Part]:
        nonlocal whole
        if step == refine_step and refine_matches is not None:
            judge = refine_matches(so_far)
            sampler.judge_by(_by_pair(judge, threads) if is_split(compute) else judge)
            whole = [of_batch]
        sampler.advance()
        if not is_split(compute):
            return whole
        pairs = sampler.batch().pairs()
        return [partial(_loss, network, pair, settings.loss, compute, problem.correlation) for pair in pairs]

    watched = _PairSampler(problem, replace(settings.fit, pairs_per_step=_WATCHED_PAIRS), settings.seed + 1).draw()

    def watched_loss(averaged: nn.Module) -> float:
        return float(_loss(averaged, watched, settings.loss, compute, problem.correlation))

    with threads:
        history = optimize(
            network, loss, steps, settings.fit,
            watched_loss=watched_loss, threads=threads, deadline=deadline, progress=progress,
        )  # fmt: skip
    return Fitted(history, sampler.matched_fraction)


def optimize(
    network: nn.Module,
    loss_at: Callable[[int, nn.Module], Sequence[Part]],
    steps: int,
    settings: FitSettings,
    *,
    watched_loss: Callable[[nn.Module], float] | None = None,
    threads: KeptThreads | None = None,
    deadline: float = math.inf,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Run the optimizer's steps, in place.

    Parameters
    ----------
    network : Module
    loss_at : callable
        Gets the step's number, from 0, and the network as it would be returned before that step; returns the
        parts of the loss, at least one. On a GPU the same list again stands for the same computation, which reads other
        values at the same places in memory.
    steps : int
        At most.
    settings : FitSettings
        Learning rate, its schedule, weight decay, clipping, and when to stop.
    watched_loss : callable, optional
        Gets the network as it would be returned, and returns its loss on fixed crops.
    threads : KeptThreads, optional
        They compute the parts; by default one after the other.
    deadline : float, optional
        Stop then, in seconds of `time.perf_counter`, but not before the 20th step.
    progress : callable, optional
        Called with the fraction of steps done.

    Returns
    -------
    ndarray, shape (steps taken,), float32
        The loss at each step.

    Raises
    ------
    VolumeError
        If the loss stops being finite.
    """
    taken = steps_of(network, settings, threads)
    averaged = taken.averaged
    rates = Rates(settings.learning_rate)
    plateau = Plateau(settings.stop_gain)
    losses: list[Tensor] = []
    started = time.perf_counter()
    position = 0.0
    network.train()
    for step in range(steps):
        if settings.schedule == "one-cycle":
            # A fit limited by the deadline completes its cycle sooner.
            position = max(position, step * (steps / _steps_in_time(steps, step, started, deadline)))
            rates = one_cycle(min(position, steps - 1), steps, settings.learning_rate)
        parts = loss_at(step, network if averaged is None else averaged)
        losses.append(taken.take(parts, rates))  # its value is read only now and then: a step must not wait for the GPU
        if progress is not None:
            progress((step + 1) / steps)
        if step + 1 >= _FEWEST_STEPS and time.perf_counter() >= deadline:
            break
        if (step + 1) % _STEPS_BETWEEN_LOOKS == 0:
            _history(losses, steps)
            if averaged is not None and watched_loss is not None:
                with torch.no_grad():
                    if plateau.reached(watched_loss(averaged)):
                        break
    history = _history(losses, steps)
    network.zero_grad()  # gradients hold the memory of what was recorded
    if averaged is not None:
        network.load_state_dict(averaged.state_dict())
    return history


def _history(losses: Sequence[Tensor], steps: int) -> NDArray[np.float32]:
    """Return the loss at each step so far, shape (steps taken,); an error if one of them is not finite."""
    if not losses:
        return np.empty(0, np.float32)
    history = torch.stack(list(losses)).cpu().numpy().astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(history))
    if wrong.size:
        raise VolumeError(
            f"The loss must stay finite; got {history[wrong[0]]} at step {wrong[0] + 1} of {steps}. "
            "Lower fit.learning_rate, or look for extreme values in the volume."
        )
    return history


def _steps_in_time(steps: int, taken: int, started: float, deadline: float) -> float:
    """Return how many of the steps fit before the deadline, at the pace so far."""
    if math.isinf(deadline) or not taken:
        return steps
    pace_s = (time.perf_counter() - started) / taken
    return min(steps, max(_FEWEST_STEPS, (deadline - started) / pace_s))


class Plateau:
    """Detects when a loss has stopped falling.

    Parameters
    ----------
    gain : float, optional
        Fraction by which the two latest losses must be lower than the lowest before them; None: never stop.
    """

    def __init__(self, gain: float | None) -> None:
        self._gain = gain
        self._losses: list[float] = []

    def reached(self, loss: float) -> bool:
        """Take the next loss; True if neither of the latest two is lower enough."""
        self._losses.append(loss)
        if self._gain is None or len(self._losses) <= 2:
            return False
        return min(self._losses[-2:]) >= (1 - self._gain) * min(self._losses[:-2])


@dataclass(frozen=True, slots=True)
class _Batch:
    """Crops of pairs, each of shape (B, 1, h, w), float32, in network units."""

    noisy: Tensor
    noisy_next: Tensor
    matched: Tensor
    scale: Tensor | None
    scale_next: Tensor | None
    matched_share: Tensor | float = 1.0
    """Fraction of the matched voxels of the batch that this is a part of, 0 to 1."""
    pixel_share: float = 1.0
    """The same of all its pixels."""

    def pairs(self) -> list[_Batch]:
        """Return each pair as a part of this batch."""
        pairs = split(self.noisy, self.noisy_next, self.matched, self.scale, self.scale_next)
        return [
            replace(_Batch(*pair), matched_share=share, pixel_share=1 / len(pairs))
            for pair, share in zip(pairs, crop_shares(self.matched), strict=True)
        ]


class _PairSampler:
    """Draws crops of neighboring slices, uniformly over the volume, from a separate seeded generator."""

    def __init__(self, problem: Problem, settings: FitSettings, seed: int) -> None:
        self._judge: MatchFunction | None = None
        self._problem = problem
        self._batch = settings.pairs_per_step
        _, height, width = problem.slices.shape
        self._crop = (min(settings.crop_px, height), min(settings.crop_px, width))
        self._flips = settings.flips
        self._random = np.random.default_rng(seed)
        device = problem.slices.device
        self._places = torch.zeros(self._batch, 3, dtype=torch.int64, device=device)
        """Slice, row and column of the first pixel of each crop."""
        self._flipped = torch.zeros(2, dtype=torch.bool, device=device)
        self._matched = torch.zeros((), device=device)
        """Sum of the matched fractions of the batches."""
        self._batches = 0

    @property
    def matched_fraction(self) -> float:
        """Fraction of matched voxels, of those drawn since the neighbors were last compared."""
        return float(self._matched) / self._batches if self._batches else 0.0

    def judge_by(self, judge: MatchFunction) -> None:
        """From now on use this function for the matched regions, instead of the W_i of the problem."""
        self._judge = judge
        self._matched.zero_()
        self._batches = 0

    def advance(self) -> None:
        """Draw the places of the next batch."""
        depth, height, width = self._problem.slices.shape
        crop_height, crop_width = self._crop
        ends = depth - self._problem.distance, height - crop_height + 1, width - crop_width + 1
        places = [[int(self._random.integers(end)) for end in ends] for _ in range(self._batch)]
        self._places.copy_(torch.tensor(places), non_blocking=True)
        flipped = [self._flips and self._random.random() < 0.5 for _ in range(2)]
        self._flipped.copy_(torch.tensor(flipped), non_blocking=True)
        self._batches += 1

    def batch(self) -> _Batch:
        """Return the crops at the places drawn last."""
        problem, distance = self._problem, self._problem.distance

        def crops(source: Tensor, below: int = 0) -> Tensor:
            return gathered(source, self._places[:, :1] + below, self._places[:, 1:], self._crop, self._flipped)

        noisy, noisy_next = ((crops(problem.slices, below) - problem.offset) / problem.unit for below in (0, distance))
        scale, scale_next = (
            None if problem.error_scale is None else crops(problem.error_scale, below) for below in (0, distance)
        )
        if self._judge is None:
            matched = crops(problem.matched)
        else:
            matched = self._judge(noisy, noisy_next, scale, scale_next)
            if problem.valid is not None:
                matched &= crops(problem.valid) & crops(problem.valid, distance)
        weights = matched.float()
        self._matched += weights.mean()
        return _Batch(noisy=noisy, noisy_next=noisy_next, matched=weights, scale=scale, scale_next=scale_next)

    def draw(self) -> _Batch:
        """Return the next batch."""
        self.advance()
        return self.batch()


def _by_pair(judge: MatchFunction, threads: KeptThreads) -> MatchFunction:
    """Return a function that compares neighbors as this one does, but each pair of a batch for itself, in threads."""

    def matched(*batch: Tensor | None) -> Tensor:
        return torch.cat(threads.results(lambda pair: judge(*pair), split(*batch)))

    return matched


def _loss(
    network: nn.Module, batch: _Batch, settings: LossSettings, compute: Compute, correlation: float = 0.0
) -> Tensor:
    """The weighted sum of the paper's terms, of a part its share; terms without weight are not computed."""
    inputs, scales = [batch.noisy, batch.noisy_next], [batch.scale, batch.scale_next]
    if settings.interslice_continuity > 0:
        inputs.append(0.5 * (batch.noisy + batch.noisy_next))
        scales.append(batch.scale)
    known = [scale for scale in scales if scale is not None]
    denoised = denoise_slices(network, torch.cat(inputs), compute, torch.cat(known) if known else None)
    outputs = torch.split(denoised, batch.noisy.shape[0])
    scale = 1.0 if batch.scale is None else batch.scale
    units = {"scale": scale, "huber_delta": settings.huber_delta}
    target, target_next = independent_targets(batch.noisy, batch.noisy_next, correlation)
    loss = batch.matched_share * reconstruction_loss(
        outputs[0], outputs[1], target, target_next, batch.matched,
        scale=scale * independent_noise(correlation), huber_delta=settings.huber_delta,
    )  # fmt: skip
    for name, term in _TERMS.items():
        weight = getattr(settings, name)
        if weight > 0:
            loss = loss + weight * term(outputs, batch, units)
    return loss


def _regional_consistency(outputs: Sequence[Tensor], batch: _Batch, units: Mapping[str, Any]) -> Tensor:
    return batch.matched_share * regional_consistency_loss(outputs[0], outputs[1], batch.matched, **units)


def _interslice_continuity(outputs: Sequence[Tensor], batch: _Batch, units: Mapping[str, Any]) -> Tensor:
    return batch.pixel_share * interslice_continuity_loss(outputs[2], outputs[0], outputs[1], **units)


_TERMS: Mapping[str, Callable[[Sequence[Tensor], _Batch, Mapping[str, Any]], Tensor]] = {
    "regional_consistency": _regional_consistency,
    "interslice_continuity": _interslice_continuity,
}
"""Terms beside the reconstruction, by the field of `LossSettings` that holds their weight. Each takes the network
outputs for the slice, for its neighbor and, if ``interslice_continuity`` has a weight, for their mean; the batch; and
the units in which errors are counted."""
