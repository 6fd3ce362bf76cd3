# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The mean that noise adds to MR magnitudes, and its subtraction.

A magnitude is never negative, so its noise has a mean: where there is no signal, 1.25 times the standard deviation of
the noise in the real and the imaginary part. A network fitted to noisy slices sees only that mean. Source of the
relations: Koay and Basser, J Magn Reson 179 (2006) 317-322.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import divided, float32, interpolated, namespace, stacked
from nsn2n.arrays.planes import blocks as blocks_of
from nsn2n.noise.blocks import BLOCK_PX

__all__ = ["ChannelNoise", "block_means", "channel_noise", "rician_mean", "rician_sd", "without_bias"]

Float64Array = NDArray[np.float64]

_LARGEST_RATIO = 12.0
"""Signal in units of the noise beyond which the tables end: bias and noise differ from a Gaussian's by under 1 %."""

_RELIABLE_RATIO = 3.0
"""Mean magnitude in units of its noise above which the noise gives that of a channel; below, both change too little
with the signal to be separated."""

_TAKEN_FOR_NOISE = 1.1
"""Largest noise in tissue relative to the removed noise: some is left."""

_AIR = 1.1
"""Mean magnitude, relative to that of noise alone from its sd, up to which a block is air."""

_LARGEST_IN_AIR = 1.3
"""Largest noise where there is no signal, relative to what the lowest mean nearby allows: means vary, the noise of
receive coils changes over that distance."""

_TISSUE = (np.array([2.0, 4.0]), np.array([0.0, 1.0]))
"""From the first to the second of these signals, in units of the noise, what surrounds tissue becomes tissue."""

_SMOOTHING_BLOCKS = (3, 5, 5)
"""Window of the median over blocks: the noise of receive coils changes slowly, its estimate in one block does not."""

_REACH_BLOCKS = 4.0
"""Gaussian with which the noise of tissue is carried into its surroundings."""


def rician_mean(signal: NDArray[np.floating]) -> Float64Array:
    """Mean magnitude of a signal >= 0; both in units of the noise sd of one channel."""
    quarter = 0.25 * np.square(signal, dtype=np.float64)
    # ive is the Bessel function times exp(-x), which keeps large signals finite.
    bessel = (1 + 2 * quarter) * special.ive(0, quarter) + 2 * quarter * special.ive(1, quarter)
    return np.asarray(np.sqrt(np.pi / 2) * bessel, dtype=np.float64)


def rician_sd(signal: NDArray[np.floating]) -> Float64Array:
    """Standard deviation of the magnitude of a signal >= 0, in the same units."""
    squared = np.square(signal, dtype=np.float64)
    return np.asarray(np.sqrt(2 + squared - np.square(rician_mean(signal))), dtype=np.float64)


_SIGNAL = np.linspace(0.0, _LARGEST_RATIO, 2401)
_MEAN = rician_mean(_SIGNAL)
_SD = rician_sd(_SIGNAL)


class ChannelNoise(NamedTuple):
    """Noise sd of one channel, real or imaginary part.

    Arrays have shape (D, ceil(H / 16), ceil(W / 16)), float32, and are 0 where the magnitude has no noise, as where a
    scanner masks the background.
    """

    blocks: Float32Array
    """As the differences of neighbors show it."""
    without_signal: Float32Array
    """Where there is little signal. An overestimate darkens what is there; an underestimate leaves some of the mean."""
    in_tissue: float
    """Ratio of the noise in tissue to ``blocks``, at most 1."""


def channel_noise(
    noise_sd_blocks: Float32Array,
    volume_dhw: Array,
    removed_sd_blocks: Float32Array,
    per_removed: float = _TAKEN_FOR_NOISE,
) -> ChannelNoise:
    """Return the noise of one channel from that of the magnitude, which is smaller at low signal.

    Parameters
    ----------
    noise_sd_blocks : ndarray, shape (D, ceil(H / 16), ceil(W / 16)), float32
        As returned by :func:`nsn2n.noise.level.estimate_noise`.
    volume_dhw : array, shape (D, H, W), float32
        Denoised magnitude, same unit.
    removed_sd_blocks : ndarray, shape of ``noise_sd_blocks``, float32
        Robust sd of what was removed, as returned by :func:`nsn2n.noise.blocks.block_sd`. Neighbors that are far apart
        differ by tissue too, so that their noise is estimated too high: in tissue what was removed is a bound.
    per_removed : float
        Largest noise in tissue relative to the removed noise.

    Returns
    -------
    ChannelNoise
    """
    means = block_means(volume_dhw)
    present = noise_sd_blocks > 0
    ratio = np.divide(means, noise_sd_blocks, out=np.zeros(means.shape), where=present)
    reliable = ratio >= _RELIABLE_RATIO
    from_tissue = noise_sd_blocks / np.interp(ratio, _MEAN / _SD, _SD)
    # Never more than the noise would allow if there were no signal: some scanners suppress the background.
    at_most = noise_sd_blocks / _SD[0]
    # At the border of tissue the noise of air is mixed in.
    inside = ndimage.binary_erosion(reliable, np.ones((1, 3, 3)), border_value=1)
    carried = _carried(from_tissue, inside if inside.any() else reliable)
    channel = np.where(reliable, from_tissue, np.minimum(at_most, carried))
    smooth = ndimage.median_filter(channel, size=_SMOOTHING_BLOCKS, mode="nearest")
    # In air the mean is a better estimate of the noise than its sd.
    of_air = means / _MEAN[0]
    smooth = np.where(of_air < _AIR * smooth, np.maximum(of_air, smooth), smooth)
    of_tissue = present & reliable
    found = np.median(removed_sd_blocks[of_tissue] / noise_sd_blocks[of_tissue]) if of_tissue.any() else 1.0
    in_tissue = min(per_removed * float(found), 1.0)
    # Neighbors that are far apart differ by tissue too, which the mean of the air between does not.
    with_noise = _positive_shares(volume_dhw)  # what is masked is 0
    of_air_alone = np.divide(of_air, with_noise, out=np.full(of_air.shape, np.inf), where=present & (with_noise > 0))
    allowed = ndimage.minimum_filter(of_air_alone, size=_SMOOTHING_BLOCKS, mode="nearest")
    without_signal = np.minimum(smooth, _LARGEST_IN_AIR * allowed)
    blocks, without_signal = (float32(np.where(present, sd, 0.0)) for sd in (smooth, without_signal))
    return ChannelNoise(blocks, without_signal, in_tissue)


def block_means(volume_dhw: Array) -> Float64Array:
    """Mean of each block of each slice, shape (D, ceil(H / 16), ceil(W / 16))."""
    means = stacked([blocks_of(slice_hw, BLOCK_PX).mean(-1) for slice_hw in volume_dhw])
    return np.asarray(means, dtype=np.float64)


def _positive_shares(volume_dhw: Array) -> Float64Array:
    """Fraction of the values of each block that are above 0."""
    shares = stacked([blocks_of(float32(slice_hw > 0), BLOCK_PX).mean(-1) for slice_hw in volume_dhw])
    return np.asarray(shares, dtype=np.float64)


def _carried(values: Float64Array, known: NDArray[np.bool_]) -> Float64Array:
    """Gaussian mean of the known values of each slice; their median far from any, infinite where there are none."""
    if not known.any():
        return np.full(values.shape, np.inf)
    reach = (0.0, _REACH_BLOCKS, _REACH_BLOCKS)
    weights = ndimage.gaussian_filter(known.astype(np.float64), reach) + 1e-6
    sums = ndimage.gaussian_filter(np.where(known, values, 0.0), reach) + 1e-6 * np.median(values[known])
    return np.asarray(sums / weights)


def without_bias(slice_hw: Array, without_signal_sd_hw: Array, tissue_sd_hw: Array) -> Array:
    """Return the signal that corresponds to a mean magnitude; 0 where it is not above that of noise alone.

    Parameters
    ----------
    slice_hw : array, shape (H, W), float32
        Denoised magnitude.
    without_signal_sd_hw, tissue_sd_hw : array, same shape
        Noise sd of one channel (:class:`ChannelNoise`), same unit; where it is 0 nothing changes.
    """
    xp = namespace(slice_hw)
    tissue = interpolated(divided(slice_hw, without_signal_sd_hw), *_TISSUE)
    # With more noise in tissue, bright magnitudes could become darker than dim ones.
    less = (without_signal_sd_hw - tissue_sd_hw).clip(min=0.0)
    channel_sd_hw = float32(without_signal_sd_hw - less * tissue)
    noisy = channel_sd_hw > 0
    mean = xp.where(noisy, divided(slice_hw, channel_sd_hw), np.inf)
    near = interpolated(mean, _MEAN, _SIGNAL) * channel_sd_hw
    # Beyond the table the mean is that of a Gaussian with the bias sd^2 / (2 signal).
    far = xp.sqrt((xp.square(slice_hw) - xp.square(channel_sd_hw)).clip(min=0.0))
    corrected = xp.where(mean < float(_MEAN[-1]), near, far)
    return float32(xp.where(noisy, corrected, slice_hw))
