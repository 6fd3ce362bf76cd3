# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Filters groups of similar cubes: a threshold, then Wiener weights from its result and a denoised volume together.

A fit and a threshold of transformed groups err in different ways: their mean is a better pilot than either. Source of
threshold and weights: Maggioni et al., IEEE Trans Image Process 22 (2013) 119-133 (BM4D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import empty_like, in_memory_of, namespace
from nsn2n.arrays.planes import gaussian, maximum
from nsn2n.filters.cubes import CUBE_PX, Cubes, Group
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation
from nsn2n.noise.spectrum import noise_spectrum

__all__ = ["filter_cubes", "share_kept"]

_THRESHOLD_SD = 2.7
"""Coefficients of a group below this many sd of the noise are set to 0 in the first estimate."""
_LEAST_PX = 2 * CUBE_PX
_STANDS_OUT_PX = 0.7
"""Gaussian in which what the filter removes is averaged,"""
_STANDS_OUT_SD = (0.4, 0.8)
"""in noise sd: above the first a fraction of it is restored, above the second all."""
_DETAIL_PX = 3.0
"""Its sign is that of the difference of a slice from its Gaussian mean of this sd."""
_AROUND_PX = 3
"""Includes the rim of what stands out."""

SliceOf = Callable[[int], Array]


def filter_cubes(
    noisy_dhw: Array,
    denoised_dhw: Array,
    noise_sd: SliceOf,
    *,
    cubes: int,
    noise_factor: float,
    share: float,
    spectrum: Float32Array | None = None,
    along: SliceCorrelation = INDEPENDENT,
    step_px: int = 2,
    valid: Array | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Replace a denoised volume by the noisy one filtered with it, in place.

    Parameters
    ----------
    noisy_dhw : array, shape (D, H, W), float32, finite
        D >= 2. Slices of fewer than 8 rows or columns are not changed.
    denoised_dhw : array, same shape and unit
        Overwritten.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    cubes : int
        In a group.
    noise_factor : float
        Factor on the noise power in the weights.
    share : float
        Weight of the denoised volume in its mean with what was filtered.
    spectrum : ndarray, shape (4, 4), float32, optional
        Of the noise (:mod:`nsn2n.noise.spectrum`); by default it is measured.
    along : SliceCorrelation
        Of the noise; none by default.
    step_px : int
        Step between the reference cubes: a larger one is faster, but the result is less even.
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; cubes without any are not filtered.
    device : torch.device, optional
        Where to compute; the CPU by default.
    progress : callable, optional
        Called with the fraction done.
    """
    depth, *shape_hw = noisy_dhw.shape
    if min(shape_hw) < _LEAST_PX:
        return
    if spectrum is None:
        spectrum = noise_spectrum(noisy_dhw, noise_sd, CUBE_PX)
    grouped = Cubes(noisy_dhw.shape, spectrum, cubes, step_px, device, along=along)

    def noisy(index: int) -> Array:
        return noisy_dhw[index] / noise_sd(index)

    def denoised(index: int) -> Array:
        return denoised_dhw[index] / noise_sd(index)

    def wanted(slices: slice) -> Array | None:
        return None if valid is None else valid[slices].any(0)

    def threshold(of_noisy: Tensor, _: Tensor, power: Tensor) -> Tensor:
        return (of_noisy.square() > _THRESHOLD_SD**2 * power).float()

    def weights(_: Tensor, of_pilot: Tensor, power: Tensor) -> Tensor:
        wanted_power = of_pilot.square()
        return wanted_power / (wanted_power + noise_factor * power)

    def tell(done: float) -> None:
        if progress is not None:
            progress(done)

    found = grouped.store()

    def groups() -> Iterator[Group]:
        for group in grouped.groups(denoised, wanted):
            found.keep(group)
            yield group

    pilot = empty_like(denoised_dhw)
    for index, first_hw in grouped.filtered(groups(), noisy, denoised, threshold):
        pilot[index] = 0.5 * (in_memory_of(first_hw, pilot) + denoised(index))
        tell(0.7 * (index + 1) / depth)
    for index, filtered_hw in grouped.filtered(iter(found), noisy, pilot.__getitem__, weights):
        before, filtered_hw = denoised(index), in_memory_of(filtered_hw, pilot)
        kept = share_kept(before, filtered_hw).clip(min=share)
        denoised_dhw[index] = (filtered_hw + kept * (before - filtered_hw)) * noise_sd(index)
        tell(0.7 + 0.3 * (index + 1) / depth)


def share_kept(before_hw: Array, filtered_hw: Array) -> Array:
    """Return the fraction of what a filter removed that is restored, shape (H, W): small structures that lost contrast.

    A spot of one slice is in only one cube of its group, so that the filter lowers it. There the difference has one
    sign over several pixels, that of the spot. What gained contrast is left as filtered.

    Parameters
    ----------
    before_hw, filtered_hw : array, shape (H, W), float32
        In noise sd.
    """
    low, high = _STANDS_OUT_SD
    coherent = gaussian(before_hw - filtered_hw, _STANDS_OUT_PX)
    detail = gaussian(before_hw, _STANDS_OUT_PX) - gaussian(before_hw, _DETAIL_PX)
    share = ((abs(coherent) - low) / (high - low)).clip(0, 1)
    return maximum(namespace(share).where(coherent * detail > 0, share, 0.0), _AROUND_PX)
