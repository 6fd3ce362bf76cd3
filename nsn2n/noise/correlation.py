# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How much of the noise neighboring slices share, measured on the volume itself.

Overlapping slices, a helical scan's interpolation and zero filling along the slices make neighbors share noise. A fit
to the neighbor would keep the shared noise, and differences of neighbors underestimate the noise.

Second differences along the slices hold little tissue. For noise of variance v and correlations r_k at distance k,
that of step 1 has the variance v (6 - 8 r_1 + 2 r_2), that of step 2 has v (6 - 8 r_2 + 2 r_4): their ratio gives r_1.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import on_host, stacked
from nsn2n.arrays.planes import convolved, gaussian
from nsn2n.arrays.ranks import kept_smallest_mean
from nsn2n.noise.along_slices import SliceCorrelation
from nsn2n.noise.blocks import BLOCK_PX
from nsn2n.noise.level import MEAN_SIGMA_PX, clipped_blocks
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stack.sampling import evenly_spread

__all__ = ["Partner", "choose_partner", "slice_correlation"]


_SAMPLE_SLICES = 12
_KEPT_SHARE = 0.8
"""The largest squares of a block are left out: edges."""
_PASSED_SHARE = 0.2
"""A difference along the plane is fine enough, and shows more than rounding, if it passes this part of the noise."""
_LEAST_STRUCTURE_PERCENTILE = 80.0
"""Blocks where so much passes have little structure."""
_STRIDES_PX = (1, 2, 3)
_FEWEST_PLACES = 8
_SURE_SD = 2.0
_MEDIAN_ERROR = 1.25
"""Standard error of a median, in units of that of a mean."""
_LEAST = 0.1
"""A smaller correlation counts as none: structure may look like it."""
_MOST = 0.9


_FAR_FROM = 0.35
"""From this correlation of neighbors on, the slice after the next is the partner: what the neighbors share can be
removed from the target, but that makes it noisier."""


class Partner(NamedTuple):
    """The slice that is the training target of a slice."""

    distance: int
    """Slices from one to the other."""
    correlation: float
    """Of their noise."""


def choose_partner(correlation: SliceCorrelation, depth: int) -> Partner:
    """Return which slice of a volume of ``depth`` slices is to be the partner."""
    if correlation.nearest > _FAR_FROM and depth > 2:
        return Partner(2, correlation.second)
    return Partner(1, correlation.nearest)


def slice_correlation(volume_dhw: Array, valid: Array | None = None) -> SliceCorrelation:
    """Measure the correlation of the noise of slices.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W), float32, finite
        Stationary along the slices. With D < 5 nothing is measured, with D < 9 the second correlation is taken as 0.
    valid : array, shape (D, H, W), bool, optional
        Voxels that count; all by default.

    Returns
    -------
    SliceCorrelation

    Notes
    -----
    Own method. Only positive correlation is reported.
    """
    places = _Places(volume_dhw, valid)
    near, far = places.power_ratio(1, 2), places.power_ratio(2, 4)
    if near is None:
        return SliceCorrelation()
    second = 0.0 if far is None else _told((6 - 6 * far) / 8)
    return SliceCorrelation(_told((6 + 2 * second - near * (6 - 8 * second)) / 8), second)


def _told(correlation: float) -> float:
    return min(correlation, _MOST) if correlation >= _LEAST else 0.0


class _Places:
    """The whole blocks of the plane, and the power of the noise in each."""

    def __init__(self, volume_dhw: Array, valid: Array | None) -> None:
        self._volume = volume_dhw
        _, height, width = volume_dhw.shape
        self._shape = rows, columns = height // BLOCK_PX, width // BLOCK_PX
        self._usable = np.asarray(~clipped_blocks(volume_dhw, valid), bool)[:rows, :columns]
        if valid is not None:
            everywhere = on_host(valid.all(0))[: rows * BLOCK_PX, : columns * BLOCK_PX]
            self._usable &= everywhere.reshape(rows, BLOCK_PX, columns, BLOCK_PX).all(axis=(1, 3))
        self._strides_px = self._finest_strides() if len(volume_dhw) > 2 else ()

    def power_ratio(self, step: int, larger: int) -> float | None:
        """Power of second differences along the slices of one step, over that of a larger one; None: not known.

        It is overestimated rather than underestimated, since structure, which differs more over the larger step, makes
        it smaller. Structure is coarser than noise: what the ratio falls by from the finest differences in the plane to
        the next is due to it, and half of that is taken to be in the finest already.
        """
        if not self._strides_px or len(self._volume) <= 2 * larger:
            return None
        found = []
        for stride_px in self._strides_px:
            near, far = (
                self._power(partial(self._second_difference, step), stride_px, larger) for step in (step, larger)
            )
            present = self._usable & (far > 0)
            if present.sum() < _FEWEST_PLACES:
                return None
            ratios = near[present] / far[present]
            found.append(float(np.median(ratios) + _SURE_SD * _MEDIAN_ERROR * np.std(ratios) / np.sqrt(ratios.size)))
        finest, next_finest = found
        return finest + 0.5 * max(0.0, finest - next_finest)

    def _finest_strides(self) -> tuple[int, ...]:
        """The finest difference in the plane that passes enough of the noise, and the next; none if there is no noise.

        Finer ones show rounding, and what an interpolation in the plane left.
        """
        if self._usable.sum() < _FEWEST_PLACES:
            return ()
        whole = self._power(self._difference, None, 1)
        present = self._usable & (whole > 0)
        for stride_px in _STRIDES_PX if present.sum() >= _FEWEST_PLACES else ():
            passed = self._power(self._difference, stride_px, 1)[present] / whole[present]
            if np.percentile(passed, _LEAST_STRUCTURE_PERCENTILE) >= _PASSED_SHARE:
                return stride_px, stride_px + 1
        return ()

    def _difference(self, index: int) -> Array:
        return self._volume[index] - self._volume[index - 1]

    def _second_difference(self, step: int, index: int) -> Array:
        return self._volume[index + step] - 2 * self._volume[index] + self._volume[index - step]

    def _power(self, image_of: Callable[[int], Array], stride_px: int | None, margin: int) -> Float32Array:
        """Power in each block; the median over some slices, which lie by the margin within the volume."""
        count = len(self._volume) - 2 * margin
        middles = [margin + index for index in evenly_spread(count, _SAMPLE_SLICES)]
        powers = for_each_slice(lambda index: _block_power(_fine(image_of(index), stride_px), self._shape), middles)
        return np.asarray(np.median(stacked(powers), axis=0))


def _fine(image_hw: Array, stride_px: int | None) -> Array:
    """Second difference along both axes of the plane, over that many pixels; None: all but the local mean."""
    if stride_px is None:
        return image_hw - gaussian(image_hw, MEAN_SIGMA_PX)
    kernel = np.zeros(2 * stride_px + 1, np.float32)
    kernel[[0, stride_px, -1]] = np.array([1, -2, 1]) / np.sqrt(6)
    return convolved(image_hw, kernel.tolist())


def _block_power(image_hw: Array, shape: tuple[int, int]) -> Array:
    """Mean of the squares in each whole block, without the largest ones."""
    rows, columns = shape
    cut = image_hw[: rows * BLOCK_PX, : columns * BLOCK_PX]
    blocks = (cut * cut).reshape(rows, BLOCK_PX, columns, BLOCK_PX).swapaxes(1, 2).reshape(rows, columns, -1)
    return kept_smallest_mean(blocks, int(_KEPT_SHARE * blocks.shape[-1]))
