# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A Wiener filter of groups of similar stacks of blocks over whole slices, with a denoised volume as its pilot.

A fit treats what differs between slices by less than the noise as equal, so it loses faint detail. A group of stacks
(:mod:`nsn2n.filters.block_stacks`) still contains it: what the noisy blocks share is restored, in proportion to
the power of the pilot at that frequency. Like the second stage of BM4D (Maggioni et al., IEEE Trans Image Process 22
(2013) 119-133), whose first stage, a threshold, the fit replaces.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import divided
from nsn2n.arrays.planes import gaussian
from nsn2n.filters.block_stacks import StackFilter, filtered_stacks
from nsn2n.filters.block_transform import BLOCK_PX
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation
from nsn2n.noise.spectrum import noise_spectrum
from nsn2n.runtime.compute import at_once
from nsn2n.runtime.cpus import in_order

__all__ = ["filter_groups", "lost_contrast"]

_DETAIL_PX = 3.0
"""Detail is the difference of a slice from its Gaussian mean of this sd."""
_SPOT_PX = 1.5
"""Size of a small spot, as the sd of a Gaussian."""
_STANDS_OUT_SD, _RAMP_SD = 1.0, 1.0
"""Detail in noise sd from which a structure is taken from the pilot, and the width of the transition."""

NoiseOf = Callable[[int], Array]


def filter_groups(
    noisy_dhw: Array,
    pilot_dhw: Array,
    noise_sd: NoiseOf,
    *,
    stacks: int,
    noise_factor: float,
    spectrum: Float32Array | None = None,
    along: SliceCorrelation = INDEPENDENT,
    valid: Array | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Replace a denoised volume by the noisy one filtered with it as pilot, in place.

    Parameters
    ----------
    noisy_dhw : array, shape (D, H, W), float32, finite
        D >= 2. Slices of fewer than 8 rows or columns are not changed.
    pilot_dhw : array, same shape and unit
        Denoised volume; overwritten.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    stacks : int
        In a group.
    noise_factor : float
        Factor on the noise power in the weights.
    spectrum : ndarray, shape (8, 8), float32, optional
        Of the noise (:mod:`nsn2n.noise.spectrum`); by default it is measured.
    along : SliceCorrelation
        Of the noise; none by default.
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; blocks without any are not filtered.
    device : torch.device, optional
        Where to compute; the CPU by default.
    progress : callable, optional
        Called with the fraction done.
    """
    depth, *shape_hw = noisy_dhw.shape
    if min(shape_hw) < BLOCK_PX:
        return

    if spectrum is None:
        spectrum = noise_spectrum(noisy_dhw, noise_sd, BLOCK_PX)
    groups = StackFilter(noisy_dhw.shape, spectrum, noise_factor, stacks, device, along=along)

    def wanted(slices: slice) -> Array | None:
        return None if valid is None else valid[slices].any(0)

    def with_contrast(finished: tuple[int, Array]) -> tuple[int, Array]:
        index, in_noise = finished
        sd = noise_sd(index)
        filtered = in_noise * sd
        return index, filtered + lost_contrast(pilot_dhw[index], filtered, sd, over_px=_SPOT_PX)

    finished = filtered_stacks(groups, noisy_dhw, pilot_dhw, noise_sd, wanted)
    for index, slice_hw in in_order(with_contrast, finished, most=at_once(device)):
        pilot_dhw[index] = slice_hw
        if progress is not None:
            progress((index + 1) / depth)


def lost_contrast(pilot_hw: Array, filtered_hw: Array, noise_sd_hw: Array, *, over_px: float = 0.0) -> Array:
    """Return the contrast that structures above the noise lost relative to the pilot, shape (H, W).

    A spot of one slice is in only one block of its group, so that the filter lowers it. Gained contrast is kept.

    Parameters
    ----------
    pilot_hw, filtered_hw : array, shape (H, W), float32
        Before the filter and after it.
    noise_sd_hw : array, same shape, > 0, same unit
    over_px : float
        Sd of the Gaussian in which the lost fraction is measured. By default it is that of each pixel, which depends on
        its noise: beside bone, where all detail is dark, what noise makes brighter counts as a loss, and that mean gets
        too low.

    Returns
    -------
    array, same shape, float32
        To be added to what was filtered.
    """
    before, after = (image - gaussian(image, _DETAIL_PX) for image in (pilot_hw, filtered_hw))
    products = before * after, before * before
    if over_px:
        products = gaussian(products[0], over_px), gaussian(products[1], over_px)
    kept = divided(*products)
    share = ((abs(before) / noise_sd_hw - _STANDS_OUT_SD) / _RAMP_SD).clip(0, 1)
    return share * (1 - kept).clip(0, 1) * before
