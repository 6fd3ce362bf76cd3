# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The grid on which slices were acquired, if they are stored on a finer one.

MR is often interpolated by zero filling: beyond the acquired frequencies the Fourier transform of a slice is filled
with zeros, so that it is stored with more rows and columns than were acquired. Such slices hold no more than before,
but neighboring pixels then share noise. The acquired grid is recognized by the cliff in the power of the noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, signal

from nsn2n._aliases import BoolArray, Float32Array, Spacing
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.runtime.volumes import new_volume
from nsn2n.stack.sampling import evenly_spread
from nsn2n.stack.validation import fill_invalid

__all__ = ["AcquiredGrid", "acquired_grid"]

_SAMPLE_PAIRS, _MOST_LINES = 8, 96
"""Of neighboring slices, and of their lines, nearly: more tell nothing new."""
_BANDS = 32
"""Bands of frequencies along an axis, in which the power of the noise is measured;"""
_LEAST_PX = 2 * _BANDS
"""a shorter axis has too few frequencies."""
_TISSUE = 0.2
"""Pixels above this fraction of nearly the largest value tell the noise: the magnitude of air has other frequencies."""
_NEARLY_LARGEST_PERCENTILE = 99.0
_BEFORE, _WITHIN = 2, 2
"""Bands before a cliff, and bands within which the power falls."""
_CLIFF = 6.0
"""All power beyond a cliff is below that before it divided by this. In slices that were not interpolated it falls by
up to 2 within so few bands, in others by 9 to 100: least where noise is a fifth of the signal, as magnitudes then have
some power beyond."""
_LOWEST_CLIFF = 6
"""First band that may lie beyond a cliff; at lower frequencies there is anatomy."""
_FINEST = 0.92
"""A grid with more of the stored pixels along an axis than this gains nothing."""

_Line = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True)
class AcquiredGrid:
    """Rows and columns of slices as acquired, and as stored; the first pixel is the same in both."""

    acquired_hw: tuple[int, int]
    stored_hw: tuple[int, int]

    def acquired(self, volume_dhw: Float32Array) -> Float32Array:
        """Return the values of slices at the places of the acquired grid, shape (D, h, w).

        They are not averaged, so that the noise of magnitudes keeps its distribution.
        """
        acquired: Float32Array = new_volume((len(volume_dhw), *self.acquired_hw), np.float32)
        every_hw = [math.ceil(pixels) for pixels in self.pixels]

        def take(index: int) -> None:
            finer_hw = [every * size for every, size in zip(every_hw, self.acquired_hw, strict=True)]
            acquired[index] = _resampled(volume_dhw[index], finer_hw)[:: every_hw[0], :: every_hw[1]]

        for_each_slice(take, range(len(volume_dhw)))
        return acquired

    def interpolated(self, image_hw: Float32Array) -> Float32Array:
        """Return a slice of the acquired grid interpolated by zero filling, shape (H, W)."""
        return _resampled(image_hw, self.stored_hw)

    def sampled(self, mask_dhw: BoolArray) -> BoolArray:
        """Return a mask of stored pixels at the pixels nearest to those of the acquired grid, shape (D, h, w)."""
        rows, columns = (
            np.minimum(np.rint(np.arange(acquired) * pixels).astype(int), stored - 1)
            for acquired, stored, pixels in zip(self.acquired_hw, self.stored_hw, self.pixels, strict=True)
        )
        return mask_dhw[:, rows[:, None], columns]

    def repeated(self, map_hw: Float32Array) -> Float32Array:
        """Return a map of the acquired grid with the value of the nearest pixel, shape (H, W)."""
        rows, columns = (
            np.minimum(np.rint(np.arange(stored) * acquired / stored).astype(int), acquired - 1)
            for acquired, stored in zip(self.acquired_hw, self.stored_hw, strict=True)
        )
        return np.asarray(map_hw[rows[:, None], columns], dtype=np.float32)

    def stored_place(self, row: int, column: int) -> tuple[int, int]:
        """Return the stored pixel at a pixel of the acquired grid."""
        down, right = self.pixels
        return min(round(row * down), self.stored_hw[0] - 1), min(round(column * right), self.stored_hw[1] - 1)

    @property
    def pixels(self) -> tuple[float, float]:
        """Stored rows and columns for each acquired one."""
        down, right = (stored / acquired for acquired, stored in zip(self.acquired_hw, self.stored_hw, strict=True))
        return down, right

    def spacing_mm(self, stored_mm: Spacing) -> Spacing:
        """Return the (slice, row, column) spacing on the acquired grid from that of the stored one."""
        down, right = self.pixels
        return stored_mm[0], stored_mm[1] * down, stored_mm[2] * right


def acquired_grid(volume_dhw: Float32Array, valid: BoolArray | None = None) -> AcquiredGrid | None:
    """Return the grid on which slices were acquired; None if they do not seem to be interpolated by zero filling.

    Parameters
    ----------
    volume_dhw : ndarray, shape (D, H, W), float32
        D >= 2; finite where it is valid.
    valid : ndarray, same shape, bool, optional
        Voxels that hold a measurement; all by default.

    Notes
    -----
    Own method. The noise is taken from differences of neighboring slices, in bands of frequencies along each axis; its
    median over the pixels of tissue is hardly that of anatomy, which differs at edges.
    """
    pairs = evenly_spread(len(volume_dhw) - 1, _SAMPLE_PAIRS)
    ones, others = (_slices(volume_dhw, valid, [index + step for index in pairs]) for step in (0, 1))
    differences, sums = others - ones, others + ones
    tissue = sums > _TISSUE * np.percentile(sums, _NEARLY_LARGEST_PERCENTILE)
    stored_hw = (volume_dhw.shape[1], volume_dhw.shape[2])
    acquired_hw = _acquired_size(differences, tissue), _acquired_size(differences.swapaxes(1, 2), tissue.swapaxes(1, 2))
    return None if acquired_hw == stored_hw else AcquiredGrid(acquired_hw, stored_hw)


def _slices(volume_dhw: Float32Array, valid: BoolArray | None, indices: Sequence[int]) -> Float32Array:
    """Return some slices, with values from around them in voxels that hold no measurement."""
    values = volume_dhw[indices]
    return values if valid is None else fill_invalid(values, valid[indices])


def _acquired_size(differences: Float32Array, tissue: NDArray[np.bool_]) -> int:
    """Return how many of the rows were acquired."""
    size = int(differences.shape[1])
    every = max(differences.shape[2] // _MOST_LINES, 1)
    differences, tissue = differences[:, :, ::every], tissue[:, :, ::every]
    if size < _LEAST_PX or not tissue.any():
        return size
    transformed = fft.rfft(differences, axis=1)
    ends = np.linspace(0, transformed.shape[1], _BANDS + 1).astype(int)

    def power(band: int) -> float:
        only = np.zeros_like(transformed)
        only[:, ends[band] : ends[band + 1]] = transformed[:, ends[band] : ends[band + 1]]
        in_band = fft.irfft(only, size, axis=1)
        return float(np.median(np.abs(in_band[tissue]))) ** 2 / float(ends[band + 1] - ends[band])

    beyond = _cliff(np.array(for_each_slice(power, range(_BANDS))))
    if beyond is None:
        return size
    # To the frequency: where the power of the whole differences is nearer to that before the cliff, in decibels.
    of_each = np.square(np.abs(transformed)).mean(axis=(0, 2))
    start, middle, end, further = ends[[beyond - _BEFORE, beyond, beyond + _WITHIN, min(beyond + 2 * _WITHIN, _BANDS)]]
    limit = np.sqrt(np.median(of_each[start:middle]) * np.median(of_each[end:further]))
    acquired = 2 * int(start + np.flatnonzero(of_each[start:end] > limit)[-1] + 1)
    return acquired if acquired <= _FINEST * size else size


def _cliff(power: _Line) -> int | None:
    """Return the band in which the power falls most; None if it does not fall far."""
    falls: dict[int, float] = {
        band: power[band - _BEFORE : band].min() / max(power[band + _WITHIN - 1 :].max(), np.finfo(np.float32).tiny)
        for band in range(_LOWEST_CLIFF, len(power) - _WITHIN)
    }
    steepest = max(falls, key=falls.__getitem__)
    return steepest if falls[steepest] > _CLIFF else None


def _resampled(image_hw: Float32Array, size_hw: Sequence[int]) -> Float32Array:
    """Return a slice with more or fewer frequencies, shape (*size_hw,), float32."""
    for axis, size in enumerate(size_hw):
        if image_hw.shape[axis] != size:
            image_hw = signal.resample(image_hw, size, axis=axis)
    return np.asarray(image_hw, dtype=np.float32)
