# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Detects where a magnitude holds only noise, from its mean over many voxels.

Without signal a mean magnitude of a few percent more turns into a signal of half of the noise, so that residual
noise in air stands out as mottle once the mean of the noise is subtracted. A wider mean separates air from faint
tissue.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Float32Array
from nsn2n.noise.rician import rician_mean

__all__ = ["signal_shares"]

_PX, _SLICES = 4.0, 1.0
"""Gaussian of the mean."""
_REACH_SLICES = 2
_DARK = (1.6, 1.7)
"""Magnitudes in units of the noise: up to the first they count in the mean and are judged by it, from the second they
are tissue."""
_SIGNAL = (1.06, 1.12)
"""Mean magnitude over that of noise alone: up to the first there is no signal, from the second on there is."""
_FEW = 1e-3
"""Weight of dark voxels around one below which they are not evidence for it."""

SliceOf = Callable[[int], Float32Array]


def signal_shares(volume_dhw: Float32Array, channel_sd: SliceOf) -> Iterator[Float32Array]:
    """Yield for each slice the signal weight, shape (H, W): 0 in air, 1 in tissue.

    Parameters
    ----------
    volume_dhw : ndarray, shape (D, H, W), float32
        Denoised magnitude. A slice is not read after its weight has been yielded.
    channel_sd : callable
        Noise sd of one channel in the slice with that index, shape (H, W), same unit; 0 where there is none.
    """
    depth = len(volume_dhw)
    sums: dict[int, tuple[Float32Array, Float32Array]] = {}
    noise_alone = float(rician_mean(np.zeros(1))[0])
    for index in range(depth):
        around = range(max(index - _REACH_SLICES, 0), min(index + _REACH_SLICES + 1, depth))
        sums = {other: sums.get(other) or _sums(volume_dhw[other], channel_sd(other)) for other in around}
        weights = np.exp(-0.5 * np.square((np.arange(around.start, around.stop) - index) / _SLICES))
        total, count = (sum(w * sums[o][part] for w, o in zip(weights, around, strict=True)) for part in (0, 1))
        mean = np.divide(total, count, out=np.full(total.shape, np.inf), where=count > _FEW)
        ratio = _in_noise(volume_dhw[index], channel_sd(index))
        tissue = np.interp(ratio, _DARK, (0.0, 1.0))
        there = np.interp(mean / noise_alone, _SIGNAL, (0.0, 1.0))
        yield np.asarray(tissue + (1 - tissue) * there, dtype=np.float32)


def _sums(slice_hw: Float32Array, channel_sd_hw: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Weighted sum of the dark magnitudes around each pixel, in units of the noise, and the sum of the weights."""
    ratio = _in_noise(slice_hw, channel_sd_hw)
    dark = ratio < _DARK[0]
    total, count = (
        ndimage.gaussian_filter(np.asarray(values, np.float32), _PX) for values in (np.where(dark, ratio, 0), dark)
    )
    return total, count


def _in_noise(slice_hw: Float32Array, channel_sd_hw: Float32Array) -> Float32Array:
    """Magnitude in units of the noise, infinite where there is none."""
    return np.divide(slice_hw, channel_sd_hw, out=np.full_like(slice_hw, np.inf), where=channel_sd_hw > 0)
