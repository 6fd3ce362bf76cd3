# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores to a denoised volume what was removed from it although it was not noise."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Array
from nsn2n.arrays.either import empty_like, float32, namespace, on_device
from nsn2n.arrays.planes import gaussian
from nsn2n.arrays.ranks import median
from nsn2n.filters.removed_structure import (
    coherent_excess,
    excess_noise,
    normalized_mean,
    removed_mean,
    structure_share,
)
from nsn2n.noise.blocks import MAD_TO_SD
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.settings import Settings
from nsn2n.stack.sampling import evenly_spread

__all__ = ["StructureRecovery"]


_SMALL_PX = (2.0, 1.0)
"""Sizes of single-slice structures searched for in what was removed, as sd of a Gaussian."""

_AT_THE_END = 1.5
"""What is restored to a guide by mistake is averaged out again. At the end it would remain, so the limit is higher."""

_ACROSS_PX, _ACROSS_SLICES = 2.0, 1.0
"""Window of the local mean that is restored for structures that extend over several slices."""
_SOUGHT_PX, _SOUGHT_SLICES = 3.0, 1.5
"""Window of the search: a wider one, which has less noise but would lose contrast if restored."""
_REACH_SLICES = 3
"""Slices on each side from which the wider window is computed from the other."""

_SAMPLE_SLICES = 16
"""Slices on which the noise of a local mean is measured."""


class StructureRecovery:
    """Restores to denoised volumes, in place, what is too coherent in the removed part to be noise.

    Parameters
    ----------
    noisy : array, shape (D, H, W), float32, finite
    noise : NoiseMap
        Of that volume.
    settings : Settings
        The thresholds; what has none is not restored.
    """

    def __init__(self, noisy: Array, noise: NoiseMap, settings: Settings) -> None:
        self._noisy = noisy
        self._noise = noise
        self._settings = settings
        self._sample = evenly_spread(len(noisy), _SAMPLE_SLICES)

    def small_structures(self, denoised: Array, *, at_the_end: bool = False) -> None:
        """Restore small structures that stand out in what was removed from one slice."""
        threshold = self._settings.excess_sd
        if threshold is None:
            return
        threshold *= _AT_THE_END if at_the_end else 1.0
        for sigma_px in _SMALL_PX:

            def mean_noise(index: int, sigma_px: float = sigma_px) -> float:
                return excess_noise(self._removed(index, denoised), self._noise.floored(index), sigma_px)

            mean_sd = float(np.median(for_each_slice(mean_noise, self._sample)))

            def give_back(index: int, sigma_px: float = sigma_px, mean_sd: float = mean_sd) -> None:
                removed, noise_sd = self._removed(index, denoised), self._noise.floored(index)
                denoised[index] += coherent_excess(removed, noise_sd, sigma_px, mean_sd, threshold)

            for_each_slice(give_back, range(len(denoised)))

    def structures_across(self, denoised: Array) -> None:
        """Restore what is coherent over several slices: faint structures that no single slice shows."""
        threshold = self._settings.excess_across_sd
        if threshold is None:
            return
        mean = empty_like(denoised)

        def take_mean(index: int) -> None:
            mean[index] = normalized_mean(self._removed(index, denoised), self._noise.floored(index), _ACROSS_PX)

        for_each_slice(take_mean, range(len(denoised)))
        mean = _mean_across(mean)
        sought = for_each_slice(lambda index: abs(_widened(mean, index)).reshape(-1), self._sample)
        mean_sd = float(median(namespace(mean).concatenate(sought))) * MAD_TO_SD

        def give_back(index: int) -> None:
            share = structure_share(_widened(mean, index), mean_sd, threshold)
            denoised[index] += share * mean[index] * self._noise.floored(index)

        for_each_slice(give_back, range(len(denoised)))

    def means_and_bounds(self, denoised: Array) -> None:
        """Restore the local mean of what was removed, and limit the change of each voxel as set."""
        settings, xp = self._settings, namespace(denoised)

        def restrain(index: int) -> None:
            part = slice(index, index + 1)
            removed = self._noisy[part] - denoised[part]
            if settings.mean_px is not None:
                removed -= removed_mean(removed, self._noise.sd[part], settings.mean_px)
            if settings.largest_change_sd is not None:
                bound = settings.largest_change_sd * self._noise.sd[part]
                xp.clip(removed, -bound, bound, out=removed)
            xp.subtract(self._noisy[part], removed, out=denoised[part])

        for_each_slice(restrain, range(len(denoised)))

    def _removed(self, index: int, denoised: Array) -> Array:
        return self._noisy[index] - denoised[index]


def _mean_across(mean_dhw: Array) -> Array:
    """Return the Gaussian mean along the slices; an array of NumPy is overwritten."""
    if isinstance(mean_dhw, np.ndarray):
        return ndimage.gaussian_filter1d(mean_dhw, _ACROSS_SLICES, axis=0, output=mean_dhw, mode="nearest")
    along = ndimage.gaussian_filter1d(np.eye(len(mean_dhw)), _ACROSS_SLICES, axis=0, mode="nearest")
    weights = on_device(along.astype(np.float32), mean_dhw.device)
    return (weights @ mean_dhw.reshape(len(mean_dhw), -1)).reshape(mean_dhw.shape)


def _widened(mean_dhw: Array, index: int) -> Array:
    """Return one slice of local means in the search window, shape (H, W)."""
    # Variances of Gaussians add: the wider window is the first one under this one.
    further = np.arange(-_REACH_SLICES, _REACH_SLICES + 1)
    weights = np.exp(-0.5 * np.square(further) / (_SOUGHT_SLICES**2 - _ACROSS_SLICES**2))
    weights = (weights / weights.sum()).astype(np.float32)
    around = np.clip(index + further, 0, len(mean_dhw) - 1)
    total = sum(float(weight) * mean_dhw[int(other)] for weight, other in zip(weights, around, strict=True))
    return float32(gaussian(total, math.sqrt(_SOUGHT_PX**2 - _ACROSS_PX**2)))
