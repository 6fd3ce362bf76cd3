# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The fit: one network, one volume, pairs of neighboring crops, until the steps are done."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nsn2n.errors import VolumeError
from nsn2n.inference import Compute, denoise_slices
from nsn2n.losses import interslice_continuity_loss, reconstruction_loss, regional_consistency_loss
from nsn2n.settings import FitSettings, LossSettings, Settings

__all__ = ["Problem", "fit", "optimize", "step_count"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a network is fitted to."""

    slices: Tensor
    """Shape (D, H, W), float32, finite; in the unit of the volume."""
    offset: float
    """Subtracted from the slices before the network sees them."""
    unit: float
    """Divides the slices before the network sees them: the median noise sd, or the data range."""
    error_scale: Tensor | None
    """Shape (D, H, W), float32, > 0: what errors are divided by, in multiples of ``unit``; None: 1 everywhere."""
    matched: Tensor
    """Shape (D - 1, H, W), bool: the weight matrices W_i."""


def step_count(settings: FitSettings, pairs: int) -> int:
    """Return the optimizer steps; an epoch sees each pair once.

    Parameters
    ----------
    settings : FitSettings
    pairs : int
        Pairs of neighbors in the volume, D - 1.
    """
    if settings.steps is not None:
        return settings.steps
    assert settings.epochs is not None
    return settings.epochs * math.ceil(pairs / settings.pairs_per_step)


def fit(
    network: nn.Module,
    problem: Problem,
    settings: Settings,
    compute: Compute,
    rematch: Callable[[nn.Module], Tensor] | None = None,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Fit a network to a volume, in place.

    Parameters
    ----------
    network : Module
        (B, 1, H, W) in, the same out.
    problem : Problem
    settings : Settings
    compute : Compute
        Device and precision.
    rematch : callable, optional
        Called once, after ``settings.match.refine_at`` of the steps, with the network; returns new W_i, shape
        (D - 1, H, W).
    progress : callable, optional
        Called with the fraction of steps done.

    Returns
    -------
    ndarray, shape (steps,), float32
        The loss at each step.

    Raises
    ------
    VolumeError
        If the loss stops being finite.
    """
    steps = step_count(settings.fit, problem.matched.shape[0])
    refine_step = math.ceil(settings.match.refine_at * steps) if rematch is not None else steps
    sampler = _PairSampler(problem, settings.fit, settings.seed)

    def loss(step: int) -> Tensor:
        if step == refine_step and rematch is not None:
            sampler.matched = rematch(network)
            network.train()
        return _loss(network, sampler.draw(), settings.loss, compute)

    return optimize(network, loss, steps, settings.fit, progress)


def optimize(
    network: nn.Module,
    loss_at: Callable[[int], Tensor],
    steps: int,
    settings: FitSettings,
    progress: Callable[[float], None] | None = None,
) -> NDArray[np.float32]:
    """Take the optimizer's steps, in place.

    Parameters
    ----------
    network : Module
    loss_at : callable
        Gets the step's number, from 0, and returns its loss, shape ().
    steps : int
    settings : FitSettings
        Learning rate, its schedule, weight decay, clipping.
    progress : callable, optional
        Called with the fraction of steps done.

    Returns
    -------
    ndarray, shape (steps,), float32
        The loss at each step.

    Raises
    ------
    VolumeError
        If the loss stops being finite.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay)
    schedule = _one_cycle(optimizer, settings, steps) if settings.schedule == "one-cycle" else None
    history = np.empty(steps, dtype=np.float32)
    network.train()
    for step in range(steps):
        loss = loss_at(step)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        if settings.gradient_norm is not None:
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_norm)
        optimizer.step()
        if schedule is not None:
            schedule.step()
        history[step] = loss.detach().float().cpu()
        if not np.isfinite(history[step]):
            raise VolumeError(
                f"The loss must stay finite; got {history[step]} at step {step + 1} of {steps}. "
                "Lower fit.learning_rate, or look for extreme values in the volume."
            )
        if progress is not None:
            progress((step + 1) / steps)
    return history


def _one_cycle(
    optimizer: torch.optim.Optimizer, settings: FitSettings, steps: int
) -> torch.optim.lr_scheduler.OneCycleLR:
    """The learning rate rises over a tenth of the steps and falls over the rest."""
    # OneCycleLR divides by the length of each phase minus a step: none may be a single step.
    total = max(steps, 3)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=total, pct_start=max(0.1, 2 / total)
    )


@dataclass(frozen=True, slots=True)
class _Batch:
    """Crops of pairs, each of shape (B, 1, h, w), float32, in network units."""

    noisy: Tensor
    noisy_next: Tensor
    matched: Tensor
    scale: Tensor | float


class _PairSampler:
    """Draws crops of neighboring slices, uniformly over the volume, from a seeded generator of its own."""

    def __init__(self, problem: Problem, settings: FitSettings, seed: int) -> None:
        self.matched = problem.matched
        self._problem = problem
        self._batch = settings.pairs_per_step
        _, height, width = problem.slices.shape
        self._crop = (min(settings.crop_px, height), min(settings.crop_px, width))
        self._flips = settings.flips
        self._random = np.random.default_rng(seed)

    def draw(self) -> _Batch:
        """Return the next batch."""
        depth, height, width = self._problem.slices.shape
        crop_height, crop_width = self._crop
        corners = [
            (
                int(self._random.integers(depth - 1)),
                int(self._random.integers(height - crop_height + 1)),
                int(self._random.integers(width - crop_width + 1)),
            )
            for _ in range(self._batch)
        ]

        flipped = [axis for axis in (-2, -1) if self._flips and self._random.random() < 0.5]

        def crops(source: Tensor, below: int = 0) -> Tensor:
            stack = torch.stack(
                [source[z + below, y : y + crop_height, x : x + crop_width] for z, y, x in corners]
            ).unsqueeze(1)
            return stack.flip(flipped) if flipped else stack

        problem = self._problem
        scale: Tensor | float = 1.0
        if problem.error_scale is not None:
            scale = crops(problem.error_scale)
        return _Batch(
            noisy=(crops(problem.slices) - problem.offset) / problem.unit,
            noisy_next=(crops(problem.slices, 1) - problem.offset) / problem.unit,
            matched=crops(self.matched).float(),
            scale=scale,
        )


def _loss(network: nn.Module, batch: _Batch, settings: LossSettings, compute: Compute) -> Tensor:
    """The weighted sum of the paper's terms; what has no weight is not computed."""
    inputs = [batch.noisy, batch.noisy_next]
    if settings.interslice_continuity > 0:
        inputs.append(0.5 * (batch.noisy + batch.noisy_next))
    outputs = torch.split(denoise_slices(network, torch.cat(inputs), compute), batch.noisy.shape[0])
    units = {"scale": batch.scale, "huber_delta": settings.huber_delta}
    loss = reconstruction_loss(
        outputs[0], outputs[1], batch.noisy, batch.noisy_next, batch.matched,
        scale=batch.scale, huber_delta=settings.huber_delta,
    )  # fmt: skip
    if settings.regional_consistency > 0:
        consistency = regional_consistency_loss(outputs[0], outputs[1], batch.matched, **units)  # type: ignore[arg-type]
        loss = loss + settings.regional_consistency * consistency
    if settings.interslice_continuity > 0:
        continuity = interslice_continuity_loss(outputs[2], outputs[0], outputs[1], **units)  # type: ignore[arg-type]
        loss = loss + settings.interslice_continuity * continuity
    return loss
