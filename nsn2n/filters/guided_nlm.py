# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Non-local means of the noisy slices, guided by the result of the fit.

A fit shrinks what it cannot predict from a neighboring slice, small spots for example, and leaves some noise where it
saw little. Its result nevertheless shows which voxels are of the same tissue. The mean of the *noisy* values of those
is free of both: a spot is similar to no voxel around it, so it keeps its values, and homogeneous tissue is averaged
over many voxels. Source: Manjon et al., Med Image Anal 16 (2012) 18-27 (PRI-NLM3D), where the guide is a transform's
denoised volume.

Where the noise of neighboring pixels is correlated, the mean still holds blotches, coarser than its reach. It can be
averaged again, guided by itself, in steps that double from level to level: the "a trous" scheme that keeps edges of
Dammertz et al. (High Performance Graphics 2010, 67-75).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nsn2n._aliases import Array
from nsn2n.arrays.either import in_memory_of, on_device
from nsn2n.settings import AverageSettings

__all__ = ["coarse_mean", "guided_mean", "step_for"]


_LOCAL_MEAN_WEIGHT = 3.0
"""How much more the mean over 3x3x3 voxels counts than the voxel itself, as in the source: it holds less noise."""

_REACH = 3
"""Reach in steps, unless given in the settings."""

_COARSE_LEVELS = ((1, 1), (2, 0), (4, 0))
"""Levels of the coarse mean: the step, in steps of the first mean, and the reach in slices on each side."""
_COARSE_REACH = 2
"""Reach in steps at each level, as in the source."""

_CORRELATED = 0.2
"""Lag-one correlation of noise above which neighbors are skipped; after a fit that of white noise is about -0.1."""

_LARGEST_SD = 3.0
"""Removed values are clipped to this many noise sd in the correlation: edges are not noise."""

_LEAST_EXPONENT = -60.0
"""Lower bound of weights: 1e-26 is negligible next to 1, and subnormal numbers are slow to compute."""

_INVALID = 1e15
"""Guide of voxels without a measurement: different from any other, and finite when squared."""

_PIXELS_PER_BLOCK = 2**18
"""Pixels of the slices that are averaged together on a CPU: 2.5 times as fast with two threads, where slices are small,
as one at a time; of more the cache holds too few."""
_PIXELS_PER_BLOCK_CUDA = 2**23

Box = tuple[slice, slice, slice]


def guided_mean(
    noisy_dhw: Array,
    guide_dhw: Array,
    noise_sd: Callable[[int], Array],
    settings: AverageSettings,
    *,
    step_px: int = 1,
    valid: Array | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Replace the guide by the mean of the noisy voxels around each voxel that are similar to it in the guide.

    A voxel j in reach of i has the weight ``exp(-((g_i - g_j)^2 + 3 (m_i - m_j)^2) / (2 s)^2)``: g the guide, m its
    mean over 3x3x3 voxels, s the local noise sd times ``similarity_sd``. In reach are ``reach`` steps in the plane, in
    the second slice from i and each one after it one less.

    Parameters
    ----------
    noisy_dhw : array, shape (D, H, W), float32, finite
    guide_dhw : array, same shape and unit
        Denoised volume; overwritten by the result, slice by slice. It may be ``noisy_dhw`` itself.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    settings : AverageSettings
        Reach and similarity.
    step_px : int
        Pixels in a step, as :func:`step_for` finds them.
    valid : array, same shape, bool, optional
        Voxels to use; the result is undefined in the others.
    device : torch.device, optional
        Where to compute; the CPU by default.
    progress : callable, optional
        Called with the fraction done.
    """
    depth, height, width = noisy_dhw.shape
    reach = _REACH if settings.reach is None else settings.reach
    on_cpu = device is None or device.type == "cpu"
    block = max(1, (_PIXELS_PER_BLOCK if on_cpu else _PIXELS_PER_BLOCK_CUDA) // (height * width))
    guides = _guides(guide_dhw, valid, device)

    def read(index: int) -> _Slices:
        guide, mean = next(guides)
        noisy = on_device(noisy_dhw[index], device)
        sharpness = -0.25 / (settings.similarity_sd * on_device(noise_sd(index), device)).square()
        return _Slices(*(plane[None] for plane in (noisy, guide, mean, sharpness, noisy, torch.ones_like(noisy))))

    rest: list[_Slices] = []
    for start in range(0, depth, block):
        end = min(start + block, depth)
        in_reach = min(end + settings.reach_slices, depth)
        read_so_far = start + sum(len(part.noisy) for part in rest)
        slices = _Slices.joined([*rest, *map(read, range(read_so_far, in_reach))])
        current = slices.part(0, end - start)
        _accumulate(current, current, _half_plane(reach, step_px))
        for distance in range(1, settings.reach_slices + 1):
            pairs = min(end - start, in_reach - start - distance)
            # Farther slices show less similar tissue: there a smaller window gives nearly the same mean.
            offsets = _plane(max(reach + 1 - distance, 0), step_px)
            if pairs > 0:
                _accumulate(slices.part(0, pairs), slices.part(distance, distance + pairs), offsets)
        guide_dhw[start:end] = in_memory_of(current.total / current.weight, guide_dhw)
        rest = [slices.part(end - start, in_reach - start)]
        if progress is not None:
            progress(end / depth)


def coarse_mean(
    volume_dhw: Array,
    noise_sd: Callable[[int], Array],
    coarse_sd: float,
    *,
    step_px: int,
    valid: Array | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Average a guided mean again, in place: three times, in steps of 1, 2 and 4 times ``step_px``.

    Weights are those of :func:`guided_mean`, with the volume as its own guide. The neighboring slices are used only in
    the first of the three, which costs the least contrast for its benefit.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W), float32, finite
        The result of :func:`guided_mean`; overwritten.
    coarse_sd : float
        Difference of voxels, in units of ``noise_sd``, at which their weight starts to fall.
    noise_sd, step_px, valid, device, progress
        As in :func:`guided_mean`.
    """
    for level, (steps, slices) in enumerate(_COARSE_LEVELS):
        settings = AverageSettings(reach=_COARSE_REACH, reach_slices=slices, similarity_sd=coarse_sd)

        def tell(fraction: float, level: int = level) -> None:
            if progress is not None:
                progress((level + fraction) / len(_COARSE_LEVELS))

        guided_mean(
            volume_dhw, volume_dhw, noise_sd, settings, step_px=steps * step_px, valid=valid, device=device,
            progress=tell,
        )  # fmt: skip


def step_for(removed_hw: list[Array], noise_sd_hw: list[Array]) -> int:
    """Return the pixels in a step: 2 where the noise of neighboring pixels is correlated, 1 elsewhere.

    Parameters
    ----------
    removed_hw, noise_sd_hw : list of ndarray, shape (H, W), float32
        Noisy minus denoised, and the noise sd > 0, of some slices.
    """
    correlations = []
    for removed, noise_sd in zip(removed_hw, noise_sd_hw, strict=True):
        noise = (removed / noise_sd).clip(-_LARGEST_SD, _LARGEST_SD)
        power = float((noise**2).mean())
        for pair in (noise[1:] * noise[:-1], noise[:, 1:] * noise[:, :-1]):
            if power > 0 and min(pair.shape):
                correlations.append(float(pair.mean()) / power)
    return 2 if correlations and float(np.median(correlations)) > _CORRELATED else 1


class _Slices(NamedTuple):
    """Neighboring slices, shape (slices, H, W), and the weighted sums over the voxels similar to each of theirs."""

    noisy: Tensor
    guide: Tensor
    mean: Tensor
    sharpness: Tensor
    total: Tensor
    weight: Tensor

    def part(self, start: int, end: int) -> _Slices:
        """Return some of them, in the same memory."""
        return _Slices(*(tensor[start:end] for tensor in self))

    @staticmethod
    def joined(parts: list[_Slices]) -> _Slices:
        """Return all slices of the parts, in separate memory."""
        return _Slices(*(torch.cat(tensors) for tensors in zip(*parts, strict=True)))


def _guides(guide_dhw: Array, valid: Array | None, device: torch.device | None) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield each slice of the guide and its mean over 3x3x3 voxels; reads one slice ahead."""
    depth = len(guide_dhw)

    def plane_mean(index: int) -> Tensor:
        plane = on_device(guide_dhw[index], device)
        return F.avg_pool2d(F.pad(plane[None, None], (1, 1, 1, 1), mode="replicate"), 3, stride=1)[0, 0]

    means = [plane_mean(0), plane_mean(0)]
    for index in range(depth):
        means.append(plane_mean(min(index + 1, depth - 1)))
        # A copy: what it is read from is overwritten while it is in use.
        guide = on_device(guide_dhw[index], device).clone()
        if valid is not None:
            guide[~on_device(valid[index], device)] = _INVALID
        yield guide, (means[0] + means[1] + means[2]) / 3
        means.pop(0)


def _accumulate(first: _Slices, second: _Slices, offsets: list[tuple[int, int]]) -> None:
    """Add each voxel of ``first`` and the one at an offset from it in ``second`` to each other's sums."""
    shape = first.noisy.shape[1:]
    for offset in offsets:
        here, there = _overlap(offset, shape)
        difference = first.guide[here] - second.guide[there]
        mean_difference = first.mean[here] - second.mean[there]
        weight = difference.square_().addcmul_(mean_difference, mean_difference, value=_LOCAL_MEAN_WEIGHT)
        weight.mul_(first.sharpness[here]).clamp_(min=_LEAST_EXPONENT).exp_()
        first.total[here].addcmul_(weight, second.noisy[there])
        first.weight[here].add_(weight)
        second.total[there].addcmul_(weight, first.noisy[here])
        second.weight[there].add_(weight)


def _plane(reach: int, step: int) -> list[tuple[int, int]]:
    span = range(-reach * step, reach * step + 1, step)
    return [(row, column) for row in span for column in span]


def _half_plane(reach: int, step: int) -> list[tuple[int, int]]:
    """Return one of each pair of opposite offsets."""
    return [offset for offset in _plane(reach, step) if offset > (0, 0)]


def _overlap(offset: tuple[int, int], shape: tuple[int, ...]) -> tuple[Box, Box]:
    """Where slices, shape (H, W), and the same moved by the offset overlap: in the first ones and in the second."""
    here, there = [], []
    for shift, size in zip(offset, shape, strict=True):
        here.append(slice(max(0, -shift), max(0, size - max(0, shift))))
        there.append(slice(max(0, shift), max(0, size + min(0, shift))))
    return (slice(None), here[0], here[1]), (slice(None), there[0], there[1])
