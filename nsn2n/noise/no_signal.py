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

from nsn2n._aliases import Array
from nsn2n.arrays.either import divided, float32, interpolated, namespace
from nsn2n.arrays.planes import gaussian
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
_RISE = np.array([0.0, 1.0])
_TISSUE, _THERE = (np.array(_DARK), _RISE), (np.array(_SIGNAL), _RISE)
"""The shares of both, as tables."""
_FEW = 1e-3
"""Weight of dark voxels around one below which they are not evidence for it."""

SliceOf = Callable[[int], Array]


def signal_shares(volume_dhw: Array, channel_sd: SliceOf) -> Iterator[Array]:
    """Yield for each slice the signal weight, shape (H, W): 0 in air, 1 in tissue.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W), float32
        Denoised magnitude. A slice is not read after its weight has been yielded.
    channel_sd : callable
        Noise sd of one channel in the slice with that index, shape (H, W), same unit; 0 where there is none.
    """
    depth = len(volume_dhw)
    sums: dict[int, tuple[Array, Array]] = {}
    noise_alone = float(rician_mean(np.zeros(1))[0])
    for index in range(depth):
        around = range(max(index - _REACH_SLICES, 0), min(index + _REACH_SLICES + 1, depth))
        sums = {other: sums.get(other) or _sums(volume_dhw[other], channel_sd(other)) for other in around}
        weights = np.exp(-0.5 * np.square((np.arange(around.start, around.stop) - index) / _SLICES))
        total, count = (sum(float(w) * sums[o][part] for w, o in zip(weights, around, strict=True)) for part in (0, 1))
        mean = namespace(total).where(count > _FEW, divided(total, count), np.inf)
        tissue = interpolated(_in_noise(volume_dhw[index], channel_sd(index)), *_TISSUE)
        there = interpolated(mean / noise_alone, *_THERE)
        yield float32(tissue + (1 - tissue) * there)


def _sums(slice_hw: Array, channel_sd_hw: Array) -> tuple[Array, Array]:
    """Weighted sum of the dark magnitudes around each pixel, in units of the noise, and the sum of the weights."""
    ratio = _in_noise(slice_hw, channel_sd_hw)
    dark = ratio < _DARK[0]
    total, count = (gaussian(float32(values), _PX) for values in (namespace(ratio).where(dark, ratio, 0.0), dark))
    return total, count


def _in_noise(slice_hw: Array, channel_sd_hw: Array) -> Array:
    """Magnitude in units of the noise, infinite where there is none."""
    return namespace(slice_hw).where(channel_sd_hw > 0, divided(slice_hw, channel_sd_hw), np.inf)
