# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The second fit: a network that sees several slices learns to find the first result again under the volume's noise.

The first network sees one slice, because what it is to predict is its neighbor. Once there is a denoised volume, that
can be the target, and then the neighbors may be seen too. The noise to remove is not modeled: it is what was removed
from other slices at the same place, with its spectrum, its local level and its correlation between slices.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nsn2n.fitting import optimize
from nsn2n.inference import Compute, denoise_slices, denoise_turned
from nsn2n.losses import prediction_loss
from nsn2n.networks import ResidualUNet
from nsn2n.noise import NoiseMap
from nsn2n.settings import Settings
from nsn2n.start import load_start, starts_from_bundle

__all__ = ["refit"]

_FIT_SHARE = 0.75
"""Share of the time that the optimizer takes, for the progress bar."""

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


def refit(
    noisy_dhw: Float32Array,
    target_dhw: Float32Array,
    noise: NoiseMap,
    settings: Settings,
    compute: Compute,
    *,
    valid: BoolArray | None = None,
    deadline: float = math.inf,
    progress: Callable[[float], None] | None = None,
) -> tuple[Float32Array, int]:
    """Fit a network to a denoised volume with noise added, and denoise the noisy volume with it.

    Parameters
    ----------
    noisy_dhw, target_dhw : ndarray, shape (D, H, W), float32, finite
        The volume, and what the first fit made of it.
    noise : NoiseMap
    settings : Settings
    compute : Compute
    valid : ndarray, same shape, bool, optional
        Voxels that teach; all by default.
    deadline : float, optional
        End the fit then, in seconds of `time.perf_counter`, but not before the 20th step.
    progress : callable, optional
        Called with the fraction done.

    Returns
    -------
    denoised : ndarray, shape (D, H, W), float32
        In the unit of the volume.
    steps : int
        Steps taken.

    Raises
    ------
    VolumeError
        If the loss stops being finite.
    """
    volume = _Volume(noisy_dhw, target_dhw, noise, valid)
    reach = settings.refit.slices // 2
    network = ResidualUNet(
        settings.network.channels, settings.network.levels, settings.network.detail_px, settings.refit.slices
    )
    if starts_from_bundle(settings.network, settings.refit.slices):
        load_start(network, settings.refit.slices)
    network.to(compute.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    random = np.random.default_rng(settings.seed)

    def loss(step: int, so_far: nn.Module) -> Tensor:
        batch = _draw(volume, settings, reach, random)
        scale = batch.scale.to(compute.device)
        denoised = denoise_slices(network, batch.noised.to(compute.device), compute, scale)
        return prediction_loss(
            denoised,
            batch.target.to(compute.device),
            batch.weight.to(compute.device),
            scale=scale,
            huber_delta=settings.loss.huber_delta,
        )

    one_cycle = replace(settings.fit, schedule="one-cycle", learning_rate=settings.refit.learning_rate)
    tell = progress or (lambda _: None)
    history = optimize(
        network, loss, settings.refit.steps, one_cycle, deadline=deadline,
        progress=lambda fraction: tell(_FIT_SHARE * fraction),
    )  # fmt: skip
    denoised = _applied(
        network, volume, settings, compute, lambda fraction: tell(_FIT_SHARE + (1 - _FIT_SHARE) * fraction)
    )
    return denoised, len(history)


@dataclass(frozen=True, slots=True)
class _Volume:
    noisy: Float32Array
    target: Float32Array
    noise: NoiseMap
    valid: BoolArray | None

    def window(self, middle: int, reach: int) -> list[int]:
        """Indices of the slices around one; beyond the ends the last one again."""
        return [min(max(index, 0), len(self.noisy) - 1) for index in range(middle - reach, middle + reach + 1)]


@dataclass(frozen=True, slots=True)
class _Batch:
    """Crops: with noise, shape (B, slices, h, w); of the middle slice, (B, 1, h, w). float32, in noise units."""

    noised: Tensor
    target: Tensor
    scale: Tensor
    weight: Tensor


def _draw(volume: _Volume, settings: Settings, reach: int, random: np.random.Generator) -> _Batch:
    """Draw crops of the target, and put on them what was removed from other slices at the same place."""
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
        here, there = (volume.window(middle, reach)[::step], *place), (volume.window(other, reach), *place)
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


def _applied(
    network: nn.Module,
    volume: _Volume,
    settings: Settings,
    compute: Compute,
    progress: Callable[[float], None],
) -> Float32Array:
    """Denoise the noisy volume slice by slice."""
    result = np.empty_like(volume.noisy)
    unit = volume.noise.median
    reach = settings.refit.slices // 2
    network.eval()
    with torch.inference_mode():
        for index in range(len(result)):
            window = torch.from_numpy(volume.noisy[volume.window(index, reach)] / np.float32(unit))
            window = window.unsqueeze(0).to(compute.device)
            scale = torch.from_numpy(volume.noise.floored(index) / np.float32(unit))[None, None].to(compute.device)
            denoised = denoise_turned(network, window, compute, scale)
            result[index] = denoised[0, 0].cpu().numpy() * unit
            progress((index + 1) / len(result))
    return result
