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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from nsn2n._aliases import Array
from nsn2n.arrays.either import empty_like
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads
from nsn2n.settings import Settings
from nsn2n.training.crops import gathered
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
        noisy_dhw: Array,
        target_dhw: Array,
        noise: NoiseMap,
        steps: int,
        *,
        valid: Array | None = None,
        deadline: float = math.inf,
        progress: Callable[[float], None] | None = None,
    ) -> int:
        """Train the network to recover a denoised volume from noise, from its present state; return the steps taken.

        Parameters
        ----------
        noisy_dhw : array, shape (D, H, W), float32, finite
        target_dhw : array, same shape, float32, finite
            The result so far.
        noise : NoiseMap
            Of the noisy volume.
        steps : int
            Optimizer steps, at most.
        valid : array, same shape, bool, optional
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
        sampler = _CropSampler(_Volume(noisy_dhw, target_dhw, noise, valid), settings, self._random)
        whole = [lambda: self._loss(sampler.batch())]

        def loss(step: int, so_far: nn.Module) -> Sequence[Part]:
            sampler.advance()
            if is_split(self._compute):
                return [partial(self._loss, crops) for crops in sampler.batch().crops()]
            return whole if sampler.device == self._compute.device else list(whole)

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
        noisy_dhw: Array,
        noise: NoiseMap,
        *,
        with_rotation: bool,
        progress: Callable[[float], None] | None = None,
    ) -> Array:
        """Return the output of the network for a volume, shape (D, H, W), float32, in its unit.

        ``with_rotation`` takes twice the time: it averages with the result for the volume rotated by 180 degrees.
        ``progress`` is called with the fraction done.
        """
        result = empty_like(noisy_dhw)
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
    noisy: Array
    target: Array
    noise: NoiseMap
    valid: Array | None


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


class _CropSampler:
    """Draws crops of the target, to which what was removed from other slices at the same position is added."""

    def __init__(self, volume: _Volume, settings: Settings, random: np.random.Generator) -> None:
        self._random = random
        self._count, self._slices = settings.refit.crops_per_step, settings.refit.slices
        self._flips = settings.fit.flips
        _, height, width = volume.noisy.shape
        self._size = min(settings.fit.crop_px, height), min(settings.fit.crop_px, width)
        self._noisy, self._target = torch.as_tensor(volume.noisy), torch.as_tensor(volume.target)
        self._sd, self._floor, self._unit = torch.as_tensor(volume.noise.sd), volume.noise.floor, volume.noise.median
        self._valid = None if volume.valid is None else torch.as_tensor(volume.valid)
        self.device = self._noisy.device
        # Of each crop: its slices, those of the noise, its first row and column, and the sign of the noise.
        self._places = torch.zeros(self._count, 2 * self._slices + 3, dtype=torch.int64, device=self.device)
        self._flipped = torch.zeros(2, dtype=torch.bool, device=self.device)

    def advance(self) -> None:
        """Draw the places of the next batch."""
        depth, height, width = self._noisy.shape
        reach, random = self._slices // 2, self._random
        places = []
        for _ in range(self._count):
            middle, other = (int(index) for index in random.integers(depth, size=2))
            corner = [
                int(random.integers(size - edge + 1)) for size, edge in zip((height, width), self._size, strict=True)
            ]
            # One sign and one direction for all slices of a window: their noise keeps its correlation.
            sign, step = (int(choice) for choice in random.choice((-1, 1), size=2))
            here, there = window_of(middle, reach, depth)[::step], window_of(other, reach, depth)
            places.append([*here, *there, *corner, sign])
        self._places.copy_(torch.tensor(places), non_blocking=True)
        self._flipped.copy_(torch.tensor([self._flips and random.random() < 0.5 for _ in range(2)]), non_blocking=True)

    def batch(self) -> _Batch:
        """Return the crops at the places drawn last."""
        here, there, corners, sign = torch.split(self._places, [self._slices, self._slices, 2, 1], dim=1)
        middle = here[:, self._slices // 2, None]

        def crops(source: Tensor, slices: Tensor) -> Tensor:
            return gathered(source, slices, corners, self._size, self._flipped)

        target, scale = crops(self._target, here), crops(self._sd, here).clamp(min=self._floor)
        removed = crops(self._noisy, there) - crops(self._target, there)
        removed *= sign[..., None, None] * scale / crops(self._sd, there).clamp(min=self._floor)
        at_middle = slice(self._slices // 2, self._slices // 2 + 1)
        return _Batch(
            noised=(target + removed) / self._unit,
            target=target[:, at_middle] / self._unit,
            scale=scale[:, at_middle] / self._unit,
            weight=torch.ones_like(target[:, at_middle]) if self._valid is None else crops(self._valid, middle).float(),
        )

    def draw(self) -> _Batch:
        """Return the next batch."""
        self.advance()
        return self.batch()
