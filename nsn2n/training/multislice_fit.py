# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The second fit: a network with several input slices learns to recover the first result from the volume's noise.

The input of the first network is one slice, because its target is the neighbor. A denoised volume can then be the
target, and neighbors can be part of the input. The noise to remove is not modeled: it is what was removed
from other slices at the same position, with its spectrum, its local level and its correlation between slices.

Its output is a better target than the first result, so the fit can continue with that.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads
from nsn2n.settings import Settings
from nsn2n.training.fitting import optimize
from nsn2n.training.inference import denoise_slices, denoised_windows, window_of
from nsn2n.training.losses import prediction_loss
from nsn2n.training.networks import ResidualUNet
from nsn2n.training.parts import Part, crop_shares, is_split, split
from nsn2n.training.pretrained import load_start, starts_from_bundle

__all__ = ["MultisliceFit"]


class MultisliceFit:
    """The network of the second fit, which may be continued with a better target.

    Parameters
    ----------
    unit : float
        Values are divided by it for the network: the median noise sd of the volume that it is fitted to.
    settings : Settings
    compute : Compute

    Raises
    ------
    SettingsError
        If the weights to start from cannot be read (:func:`nsn2n.training.pretrained.load_start`).
    """

    def __init__(self, unit: float, settings: Settings, compute: Compute) -> None:
        self._unit = unit
        self._settings = settings
        self._compute = compute
        self._random = np.random.default_rng(settings.seed)
        shape = settings.network
        self._network = ResidualUNet(shape.channels, shape.levels, shape.detail_px, settings.refit.slices)
        if starts_from_bundle(settings.network, settings.refit.slices):
            load_start(self._network, settings.refit.slices)
        self._network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    def fit(
        self,
        noisy_dhw: Float32Array,
        target_dhw: Float32Array,
        noise: NoiseMap,
        steps: int,
        *,
        valid: BoolArray | None = None,
        deadline: float = math.inf,
        progress: Callable[[float], None] | None = None,
    ) -> int:
        """Train the network to recover a denoised volume from noise, from its present state; return the steps taken.

        Parameters
        ----------
        noisy_dhw : ndarray, shape (D, H, W), float32, finite
        target_dhw : ndarray, same shape, float32, finite
            The result so far.
        noise : NoiseMap
            Of the noisy volume.
        steps : int
            Optimizer steps, at most.
        valid : ndarray, same shape, bool, optional
            Voxels to train on; all by default.
        deadline : float, optional
            End then, in seconds of `time.perf_counter`, but not before the 20th step.
        progress : callable, optional
            Called with the fraction done.

        Raises
        ------
        VolumeError
            If the loss stops being finite.
        """
        settings = self._settings
        volume = _Volume(noisy_dhw, target_dhw, noise, valid)

        def loss(step: int, so_far: nn.Module) -> list[Part]:
            batch = _draw(volume, settings, settings.refit.slices // 2, self._random)
            return [partial(self._loss, crops) for crops in (batch.crops() if is_split(self._compute) else [batch])]

        one_cycle = replace(settings.fit, schedule="one-cycle", learning_rate=settings.refit.learning_rate)
        with KeptThreads() as threads:
            history = optimize(
                self._network, loss, steps, one_cycle, threads=threads, deadline=deadline, progress=progress
            )
        return len(history)

    def _loss(self, batch: _Batch) -> Tensor:
        device = self._compute.device
        scale = batch.scale.to(device)
        loss = prediction_loss(
            denoise_slices(self._network, batch.noised.to(device), self._compute, scale),
            batch.target.to(device),
            batch.weight.to(device),
            scale=scale,
            huber_delta=self._settings.loss.huber_delta,
        )
        return batch.share * loss

    def denoise(
        self,
        noisy_dhw: Float32Array,
        noise: NoiseMap,
        *,
        with_rotation: bool,
        progress: Callable[[float], None] | None = None,
    ) -> Float32Array:
        """Return the output of the network for a volume, shape (D, H, W), float32, in its unit.

        ``with_rotation`` takes twice the time: it averages with the result for the volume rotated by 180 degrees.
        ``progress`` is called with the fraction done.
        """
        result = np.empty_like(noisy_dhw)
        slices = denoised_windows(
            self._network,
            noisy_dhw,
            noise,
            self._unit,
            self._compute,
            slices=self._settings.refit.slices,
            with_rotation=with_rotation,
        )
        for index, denoised_hw in slices:
            result[index] = denoised_hw
            if progress is not None:
                progress((index + 1) / len(result))
        return result


@dataclass(frozen=True, slots=True)
class _Volume:
    noisy: Float32Array
    target: Float32Array
    noise: NoiseMap
    valid: BoolArray | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Crops: with noise, shape (B, slices, h, w); of the middle slice, (B, 1, h, w). float32, in noise units."""

    noised: Tensor
    target: Tensor
    scale: Tensor
    weight: Tensor
    share: Tensor | float = 1.0
    """Fraction of the weight of the batch that this is a part of, 0 to 1."""

    def crops(self) -> list[_Batch]:
        """Return each crop as a part of this batch."""
        crops = split(self.noised, self.target, self.scale, self.weight)
        shares = crop_shares(self.weight)
        return [replace(_Batch(*crop), share=share) for crop, share in zip(crops, shares, strict=True)]


def _draw(volume: _Volume, settings: Settings, reach: int, random: np.random.Generator) -> _Batch:
    """Draw crops of the target, and add what was removed from other slices at the same position."""
    depth, height, width = volume.noisy.shape
    size = min(settings.fit.crop_px, height), min(settings.fit.crop_px, width)
    unit = volume.noise.median
    noised, targets, scales, weights = [], [], [], []
    for _ in range(settings.refit.crops_per_step):
        middle, other = (int(index) for index in random.integers(depth, size=2))
        row, column = int(random.integers(height - size[0] + 1)), int(random.integers(width - size[1] + 1))
        place = slice(row, row + size[0]), slice(column, column + size[1])
        # One sign and one direction for all slices of a window: their noise keeps its correlation.
        sign, step = (int(choice) for choice in random.choice((-1, 1), size=2))
        here = (window_of(middle, reach, depth)[::step], *place)
        there = (window_of(other, reach, depth), *place)
        target, scale = volume.target[here], np.maximum(volume.noise.sd[here], volume.noise.floor)
        removed = volume.noisy[there] - volume.target[there]
        removed *= sign * scale / np.maximum(volume.noise.sd[there], volume.noise.floor)
        noised.append((target + removed) / unit)
        targets.append(target[reach] / unit)
        scales.append(scale[reach] / unit)
        weights.append(np.ones(size, np.float32) if volume.valid is None else volume.valid[middle][place])
    flipped = [axis for axis in (-2, -1) if settings.fit.flips and random.random() < 0.5]

    def batch(crops: list[Any]) -> Tensor:
        stack = torch.from_numpy(np.stack(crops).astype(np.float32))
        return stack.flip(flipped) if flipped else stack

    return _Batch(
        noised=batch(noised),
        target=batch(targets).unsqueeze(1),
        scale=batch(scales).unsqueeze(1),
        weight=batch(weights).unsqueeze(1),
    )
