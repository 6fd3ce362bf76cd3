# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Conversion between the stored numbers of a file and their values.

A value is slope times number plus intercept. In a file of integers a new value becomes the nearest number that can be
stored (halves to even), within the type's limits; where a value is that of the file, its number is not changed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Float32Array, Spacing
from nsn2n.errors import VolumeError
from nsn2n.runtime.volumes import new_volume
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["StoredNumbers"]

logger = logging.getLogger(__name__)

_FAR, _KEPT = 32.0, 16.0
"""Values that are further from zero than `_FAR` times their range lie at `_KEPT` times it afterwards: float32 then has
steps of a millionth of the range. They stay away from zero, where the noise of a magnitude would have a mean."""


@dataclass(frozen=True, eq=False)
class StoredNumbers:
    """Stored numbers, and their conversion to values."""

    array: NDArray[Any]
    """Three axes of space, then optionally one of time, then others of length 1."""
    axes: tuple[int, int, int]
    """The axes (0, 1 or 2) that are slices, rows and columns."""
    slope: float = 1.0
    inter: float = 0.0
    offset: float = 0.0
    """What is subtracted from the values, in float64, before they become float32; 0 unless they are so far from zero
    that float32 would round them too coarsely."""

    def with_offset(self, path: Path) -> StoredNumbers:
        """Return the same with the offset that the values need."""
        offset = _offset(self._real(plane) for plane in self._planes(self.array))
        if offset:
            logger.info("%s: %.17g is subtracted from all values, and added back when they are written", path, offset)
        return replace(self, offset=offset)

    def stack(self, path: Path, spacing_mm: Spacing) -> SliceStack:
        """Return the values, minus the offset; each volume over time is a part.

        Raises
        ------
        VolumeError
            If they do not fit float32, or cannot be denoised.
        """
        depth, height, width = (self.array.shape[axis] for axis in self.axes)
        volumes = self.array.size // (depth * height * width)
        values_dhw = new_volume((volumes * depth, height, width), np.float32)
        for index, plane in enumerate(self._planes(self.array)):
            real = self._real(plane)
            values_dhw[index] = _less(real, self.offset)
            if not np.array_equal(np.isfinite(real), np.isfinite(values_dhw[index])):
                raise VolumeError(
                    f"{path} must fit float32; it has magnitudes beyond {np.finfo(np.float32).max:.3g}. Rescale it."
                )
        try:
            return SliceStack.of(values_dhw, spacing_mm=spacing_mm, parts=(depth,) * volumes)
        except VolumeError as error:
            raise VolumeError(f"{path} cannot be used as a volume: {error}") from error

    def replaced(self, volume_dhw: Float32Array, path: Path) -> NDArray[Any]:
        """Return the numbers for other values, minus the offset, in the type and the axes of the file.

        Raises
        ------
        VolumeError
            If the shape is not that of the stack, or a new value is not finite; it names `path`.
        """
        height, width = (self.array.shape[axis] for axis in self.axes[1:])
        expected = (self.array.size // (height * width), height, width)
        if volume_dhw.shape != expected:
            raise VolumeError(
                f"The volume to write to {path} must have the shape of the one that was read, "
                f"{expected} (slices, rows, columns); got {volume_dhw.shape}. "
                "Do not crop or transpose it."
            )
        stored = np.array(self.array)
        clipped = 0
        for values, plane in zip(volume_dhw, self._planes(stored), strict=True):
            before = _less(self._real(plane), self.offset)
            changed = (values != before) & ~(np.isnan(values) & np.isnan(before))
            if not np.isfinite(values[changed]).all():
                raise VolumeError(f"The volume to write to {path} must be finite; it has infinite values or NaN.")
            plane[changed], outside = self._unscaled(values[changed])
            clipped += outside
        if clipped:
            logger.warning(
                "%d of %d values are outside the range of %s and were clipped", clipped, stored.size, stored.dtype
            )
        return stored

    def placed(self, map_dhw: Float32Array) -> Float32Array:
        """Return values of the stack's shape as float32 in the axes of the file, neither scaled nor offset."""
        placed: Float32Array = new_volume(self.array.shape[::-1], np.float32).T
        for values, plane in zip(map_dhw, self._planes(placed), strict=True):
            plane[...] = values
        return placed

    def _planes(self, array: NDArray[Any]) -> Iterator[NDArray[Any]]:
        """Yield views of an array, slice by slice of one volume after the other; each has the axes (h, w)."""
        volumes = array.shape[3] if array.ndim > 3 else 1
        for index in range(volumes):
            place = (slice(None),) * 3 + ((index,) + (0,) * (array.ndim - 4) if array.ndim > 3 else ())
            yield from array[place].transpose(self.axes)

    def _real(self, stored: NDArray[Any]) -> NDArray[np.floating[Any]]:
        """Return values after the file's scaling, in float64, or wider."""
        return stored.astype(_wide(stored.dtype)) * self.slope + self.inter

    def _unscaled(self, values: Float32Array) -> tuple[NDArray[Any], int]:
        """Return what is to be stored for values, and how many of them had to be clipped."""
        dtype = self.array.dtype
        numbers = (values.astype(_wide(dtype)) + self.offset - self.inter) / self.slope
        if dtype.kind == "f":
            limits = np.finfo(dtype)
            inside = numbers.clip(limits.min, limits.max)
        else:
            numbers = np.rint(numbers)
            inside = numbers.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
        return inside.astype(dtype), int(np.count_nonzero(inside != numbers))


def _wide(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """float64 cannot hold 64-bit integers; x86-64 has a type that can."""
    return np.longdouble if dtype.itemsize > 8 or (dtype.kind in "iu" and dtype.itemsize == 8) else np.float64


def _less(real: NDArray[np.floating[Any]], offset: float) -> Float32Array:
    """Return values minus an offset as float32; infinite where they do not fit."""
    with np.errstate(over="ignore"):
        less: Float32Array = (real - offset).astype(np.float32)
    return less


def _offset(planes: Iterator[NDArray[np.floating[Any]]]) -> float:
    """Return what is to be subtracted from values that float32 would round too coarsely; 0 if it does not."""
    low, high, rounded = np.longdouble(math.inf), np.longdouble(-math.inf), False
    for plane in planes:
        finite = plane[np.isfinite(plane)]
        if finite.size:
            low, high = min(low, np.longdouble(finite.min())), max(high, np.longdouble(finite.max()))
            rounded = rounded or bool((_less(finite, 0.0) != finite).any())
    reach, nearest = float(high - low), float(max(low, -high))  # negative if values have both signs
    if not (rounded and 0 < reach < math.inf and _FAR * reach < nearest):
        return 0.0
    step = 2.0 ** math.floor(math.log2(reach))  # integers stay integers
    return math.copysign(math.floor((nearest - _KEPT * reach) / step) * step, float(low))
