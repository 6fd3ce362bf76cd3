# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise level of a volume, estimated from the volume itself, locally and robustly.

Neighboring slices show nearly the same tissue with independent noise, so their difference is mostly noise, of twice
the variance. The tissue left in it is smooth in the plane or confined to edges: a second difference along both
axes removes the first, medians over blocks ignore the second. How much of the noise such a second difference passes
depends on the noise's spectrum, which is the same all over a volume; it is taken from the blocks with least structure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import contiguous, empty_like, in_memory_of, namespace, on_host, stacked
from nsn2n.arrays.planes import blocks as blocks_of
from nsn2n.arrays.planes import gaussian, maximum
from nsn2n.arrays.ranks import median_filtered
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation
from nsn2n.noise.blocks import BLOCK_PX, block_sd, noise_sd_slice, second_difference
from nsn2n.noise.quiet import quiet_voxels
from nsn2n.runtime.cpus import for_each_slice

__all__ = ["MEAN_SIGMA_PX", "NoiseMap", "clipped_blocks", "estimate_noise", "measure_noise"]

MEAN_SIGMA_PX = 4.0
"""Noise coarser than this Gaussian counts as structure."""

_CLEAN_BLOCKS_PERCENTILE = 20.0
"""Fraction of blocks assumed to be free of structure when the gain of the second difference is measured."""

_EVERY_PAIRS = 4
"""Pairs so far apart, and those in the middle between them, have no slice in common."""

_CLIPPED_SHARE = 0.02
"""A block is clipped if more than this fraction of its voxels has the minimum or maximum value of the volume."""

_REACH_PX = 2
"""Reach of a second difference, and half a pixel of blur: so near to others a voxel has some of their noise."""

_LARGEST_GAIN = 1000.0
"""Gain of noise that is smooth over some 8 pixels. What would need more is rounding beside structure, not noise."""

_FLOOR = 0.25
"""Errors are divided by at least this fraction of the median noise sd: quiet corners must not dominate the loss."""


@dataclass(frozen=True, slots=True)
class NoiseMap:
    """The noise of a volume."""

    blocks: Float32Array
    """As :func:`estimate_noise` returns it."""
    sd: Array
    """Noise sd of each voxel, shape (D, H, W), float32; 0 where neighbors do not differ."""
    median: float
    """Median over the blocks that have noise; 0 if none has."""
    spectra: Mapping[int, Float32Array] = field(default_factory=dict)
    """Power at each frequency of blocks of so many pixels (:mod:`nsn2n.noise.spectrum`), where it is known."""
    rises: bool = False
    """Whether that power rises from frequency 0, as of CT."""
    along: SliceCorrelation = INDEPENDENT
    """What slices share of it."""

    @property
    def floor(self) -> float:
        """Lower bound of the noise sd where it is a divisor."""
        return _FLOOR * self.median

    def shared(self, along: SliceCorrelation) -> NoiseMap:
        """Return the noise if neighbors share some of it, which their differences do not show."""
        return replace(self.scaled(float(np.float32(1 / np.sqrt(1 - along.nearest)))), along=along)

    def scaled(self, factor: float) -> NoiseMap:
        """Return the noise with all standard deviations multiplied by a factor."""
        sd = empty_like(self.sd)
        namespace(sd).multiply(self.sd, factor, out=sd)
        return replace(self, blocks=self.blocks * np.float32(factor), sd=sd, median=float(self.median * factor))

    def floored(self, index: int) -> Array:
        """Noise sd of a slice, shape (H, W), not below ``floor``."""
        return self.sd[index].clip(min=self.floor)

    def part(self, place: tuple[slice, ...] | slice) -> NoiseMap:
        """Return the noise of a part of the volume, with the blocks of the whole."""
        return replace(self, sd=contiguous(self.sd[place]))


def measure_noise(volume_dhw: Array, valid: Array | None = None, *, quiet_air: bool = False) -> NoiseMap:
    """Estimate the noise of each voxel; other parameters as of :func:`estimate_noise`.

    Parameters
    ----------
    quiet_air : bool
        Air with far less noise than the body (:mod:`nsn2n.noise.quiet`) is measured separately, and does not count in
        the median.
    """
    quiet = quiet_voxels(volume_dhw, valid) if quiet_air else None
    if quiet is None:
        blocks = estimate_noise(volume_dhw, valid)
        present = blocks[blocks > 0]
    else:
        blocks = estimate_noise(volume_dhw, valid, among=lambda index: ~quiet[index])
        of_quiet = estimate_noise(volume_dhw, valid, among=lambda index: quiet[index])
        with_noise = np.stack([on_host(blocks_of(~slice_hw, BLOCK_PX).any(-1)) for slice_hw in quiet])
        present = blocks[(blocks > 0) & with_noise]
    sd = empty_like(volume_dhw)
    shape_hw = volume_dhw.shape[1:]
    for index, blocks_hw in enumerate(in_memory_of(blocks, volume_dhw)):
        sd[index] = noise_sd_slice(blocks_hw, shape_hw)
        if quiet is not None:
            of_quiet_hw = noise_sd_slice(in_memory_of(of_quiet[index], volume_dhw), shape_hw)
            sd[index][quiet[index]] = of_quiet_hw[quiet[index]]
    if quiet is not None:
        blocks = np.where(with_noise, blocks, of_quiet)
    return NoiseMap(blocks, sd, float(np.median(present)) if present.size else 0.0)


def estimate_noise(
    volume_dhw: Array, valid: Array | None = None, *, among: Callable[[int], Array] | None = None
) -> Float32Array:
    """Estimate the local standard deviation of the noise from differences of neighboring slices.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W), float32, finite
        D >= 2; noise independent between slices, of any in-plane spectrum finer than some 10 pixels.
    valid : array, shape (D, H, W), bool, optional
        Voxels that count; all by default.
    among : callable, optional
        Which voxels of the slice with that index are asked for, shape (H, W), bool; all that count by default.

    Returns
    -------
    ndarray, shape (D, ceil(H / 16), ceil(W / 16)), float32
        Noise sd for each block of each slice, in the unit of the volume; 0 where neighbors do not differ. Blocks
        without a voxel asked for have that of other blocks.

    Notes
    -----
    Own method; the paper needs no noise level. Checked on simulated Rician and real CT noise by the tests.
    """

    def usable_in(index: int) -> Array | None:
        usable = None if valid is None else valid[index]
        if among is None:
            return usable
        inner = ~maximum(~among(index), 2 * _REACH_PX + 1)
        return inner if usable is None else inner & usable

    def of_pair(index: int) -> tuple[Array, Array, Array]:
        difference = volume_dhw[index + 1] - volume_dhw[index]
        one, other = usable_in(index), usable_in(index + 1)
        usable = None if one is None or other is None else one & other
        coarse = block_sd(difference - gaussian(difference, MEAN_SIGMA_PX), usable)
        whole = namespace(coarse).ones_like(coarse) if among is None else blocks_of(usable, BLOCK_PX).all(-1)
        return coarse, block_sd(second_difference(difference), usable), whole

    coarse_sd, fine_sd, whole = (
        stacked(of_pairs) for of_pairs in zip(*for_each_slice(of_pair, range(len(volume_dhw) - 1)), strict=True)
    )
    doubtful = clipped_blocks(volume_dhw, valid) | (np.median(whole, axis=0) < 1)
    pairs_sd = fine_sd * _gain(coarse_sd, fine_sd, doubtful)
    pairs_sd = on_host(median_filtered(in_memory_of(pairs_sd, volume_dhw), (5, 3, 3)))
    # A slice is in one pair (the first and the last) or in two.
    slices_sd = np.concatenate([pairs_sd[:1], 0.5 * (pairs_sd[1:] + pairs_sd[:-1]), pairs_sd[-1:]])
    return np.asarray(slices_sd / np.sqrt(2.0), dtype=np.float32)


def clipped_blocks(volume_dhw: Array, valid: Array | None) -> NDArray[np.bool_]:
    """Blocks of the plane where the volume's range cuts the noise, as -1024 HU does in air, shape (rows, columns)."""
    low, high = float(volume_dhw.min()), float(volume_dhw.max())
    shares = namespace(volume_dhw).zeros_like(volume_dhw[0])
    for index, slice_hw in enumerate(volume_dhw):
        at_bound = (slice_hw <= low) | (slice_hw >= high)
        shares += at_bound if valid is None else at_bound & valid[index]
    return np.asarray(on_host(blocks_of(shares / len(volume_dhw), BLOCK_PX).mean(-1)) > _CLIPPED_SHARE)


def _gain(coarse_sd: Float32Array, fine_sd: Float32Array, doubtful: NDArray[np.bool_]) -> float:
    """Noise sd per sd of its second difference, from the places with least structure.

    Some pairs choose the places and others, whose noise is independent, give the gain there: in the pairs that chose,
    the gain would be too low by chance. Noise that is cut off, or next to other noise, has another spectrum: such
    doubtful places count only if there are no others.
    """
    noisy = np.median(fine_sd, axis=0) > 0
    if (noisy & ~doubtful).any():
        noisy &= ~doubtful
    if not noisy.any():
        return 1.0
    choosing, telling = (
        _ratios(coarse_sd[first::_EVERY_PAIRS], fine_sd[first::_EVERY_PAIRS], noisy) for first in (0, _EVERY_PAIRS // 2)
    )
    known = np.isfinite(choosing) & np.isfinite(telling)
    if known.any():
        gains = [
            np.median(others[known][ratios[known] <= np.percentile(ratios[known], _CLEAN_BLOCKS_PERCENTILE)])
            for ratios, others in ((choosing, telling), (telling, choosing))
        ]
        gain = float(np.mean(gains))
    else:
        gain = float(np.percentile(_ratios(coarse_sd, fine_sd, noisy), _CLEAN_BLOCKS_PERCENTILE))
    return min(gain, _LARGEST_GAIN)


def _ratios(coarse_sd: Float32Array, fine_sd: Float32Array, noisy: NDArray[np.bool_]) -> Float32Array:
    """Of the medians over some pairs, for each noisy place; NaN where there are no pairs, or these have no noise."""
    ratios = np.full(int(noisy.sum()), np.nan, np.float32)
    if len(fine_sd):
        coarse, fine = np.median(coarse_sd, axis=0)[noisy], np.median(fine_sd, axis=0)[noisy]
        np.divide(coarse, fine, out=ratios, where=fine > 0)
    return ratios
