# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reduces the noise at edges by collaborative filtering of groups of similar blocks.

A voxel of an edge is similar to few others, so that the guided mean leaves its noise. But a small block of an edge is
similar to those farther along it and in the neighboring slices (:mod:`nsn2n.filters.block_matching`). Restricting the
filter to edges, and keeping what is coherent in a single slice, are our own additions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce

import torch

from nsn2n._aliases import Array
from nsn2n.arrays.either import empty_like, float32, namespace
from nsn2n.arrays.planes import gaussian, maximum, minimum
from nsn2n.arrays.ranks import median
from nsn2n.filters.block_matching import Groups, filtered_slices
from nsn2n.filters.block_transform import BLOCK_PX
from nsn2n.filters.removed_structure import structure_share
from nsn2n.noise.blocks import MAD_TO_SD
from nsn2n.noise.spectrum import noise_spectrum
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.settings import EdgeSettings
from nsn2n.stack.sampling import evenly_spread

__all__ = ["edge_share", "filter_edges"]

NoiseOf = Callable[[int], Array]

_EDGE_PX = 5
"""Edge of the square in which values differ where there is an edge."""
_RAMP_SD = 4.0
"""The weight of the filter rises from 0 to 1 over this range of contrast."""

_GROUP = 12
"""Blocks in a group."""

_LARGEST_SD = 2.0
"""No voxel is changed by more than this many noise sd: residual noise at an edge is smaller."""

_KEPT_PX = (2.0, 1.0)
"""Sizes of the single-slice structures that the filter must keep, as sd of a Gaussian."""

_SAMPLE_SLICES = 16
"""Slices on which the local means of what is removed are measured."""


def filter_edges(
    noisy_dhw: Array,
    guide_dhw: Array,
    noise_sd: NoiseOf,
    settings: EdgeSettings,
    *,
    valid: Array | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Reduce the residual noise of a denoised volume at its edges, in place.

    Parameters
    ----------
    noisy_dhw : array, shape (D, H, W), float32, finite
        D >= 2. Slices of fewer than 8 rows or columns stay as they are.
    guide_dhw : array, same shape and unit
        Denoised volume; overwritten at its edges.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    settings : EdgeSettings
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; the others are not changed.
    device : torch.device, optional
        Where to compute; the CPU by default.
    progress : callable, optional
        Called with the fraction done.
    """
    depth, *shape_hw = noisy_dhw.shape
    if min(shape_hw) < BLOCK_PX:
        return

    xp = namespace(guide_dhw)
    shares = _shares(guide_dhw, noise_sd, settings.contrast_sd, valid)
    taken = empty_like(guide_dhw, xp.float16)
    groups = Groups(shape_hw, noise_spectrum(noisy_dhw, noise_sd, BLOCK_PX), settings.threshold_sd, device, size=_GROUP)
    for index, filtered in filtered_slices(groups, noisy_dhw, guide_dhw, noise_sd, lambda index: shares[index] > 0):
        change = guide_dhw[index] / noise_sd(index) - filtered
        taken[index] = change.clip(-_LARGEST_SD, _LARGEST_SD)
        if progress is not None:
            progress((index + 1) / depth)
    mean_sd = {sigma_px: _mean_sd(taken, shares, sigma_px) for sigma_px in _KEPT_PX}

    def take(index: int) -> None:
        share = shares[index] * (1 - _kept(taken[index], mean_sd, settings.keep_sd))
        guide_dhw[index] -= share * taken[index] * noise_sd(index)

    for_each_slice(take, range(depth))


def edge_share(denoised_hw: Array, noise_sd_hw: Array, contrast_sd: float) -> Array:
    """Return the degree to which each pixel is at an edge, 0 to 1, shape (H, W), float32.

    Parameters
    ----------
    denoised_hw : array, shape (H, W), float32
    noise_sd_hw : array, same shape
        Noise sd > 0 of the noisy slice, same unit.
    contrast_sd : float
        Difference of the greatest and the least value around it, in noise sd, beyond which the share rises from 0.
    """
    contrast = maximum(denoised_hw, _EDGE_PX) - minimum(denoised_hw, _EDGE_PX)
    return ((contrast / noise_sd_hw - contrast_sd) / _RAMP_SD).clip(0, 1)


def _shares(guide_dhw: Array, noise_sd: NoiseOf, contrast_sd: float, valid: Array | None) -> Array:
    """Each slice's :func:`edge_share`, 0 where there is no measurement, shape (D, H, W)."""
    xp = namespace(guide_dhw)
    shares = empty_like(guide_dhw, xp.float16)

    def find(index: int) -> None:
        shares[index] = edge_share(guide_dhw[index], noise_sd(index), contrast_sd)
        if valid is not None:
            shares[index][~valid[index]] = 0

    for_each_slice(find, range(len(guide_dhw)))
    return shares


def _mean_sd(taken_dhw: Array, shares_dhw: Array, sigma_px: float) -> float:
    """Standard deviation, robust, of the local means of what is removed at edges; 0 if there are none."""

    def at_edges(index: int) -> Array:
        return abs(_local_mean(taken_dhw[index], sigma_px)[shares_dhw[index] > 0.5])

    means = namespace(taken_dhw).concatenate(for_each_slice(at_edges, evenly_spread(len(taken_dhw), _SAMPLE_SLICES)))
    return float(median(means)) * MAD_TO_SD if len(means) else 0.0


def _kept(taken_hw: Array, mean_sd: Mapping[float, float], keep_sd: float) -> Array:
    """Return the degree to which each pixel belongs to a structure to be kept, 0 to 1, shape (H, W)."""
    shares = [structure_share(_local_mean(taken_hw, sigma_px), sd, keep_sd) for sigma_px, sd in mean_sd.items()]
    return reduce(namespace(taken_hw).maximum, shares)


def _local_mean(taken_hw: Array, sigma_px: float) -> Array:
    return gaussian(float32(taken_hw), sigma_px)
