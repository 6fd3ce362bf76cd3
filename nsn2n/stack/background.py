# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The exactly constant background around the object, and the bounding box of everything else.

Outside the field of view, a mask or the acquired region, images are filled with one value (0, -1024, -3024),
whether or not PixelPaddingValue says so. Nothing was measured there: mistaken for tissue without noise, it would hide
the noise of what is next to it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.runtime.volumes import new_volume

__all__ = ["Box", "box_around", "without_background"]

_WINDOW_PX = 9
"""A background holds squares of this size, or whole rows or columns. Equal voxels that come by chance, as air that is
cut off at -1024 HU or zeros between the counts of PET, hardly do."""

_NOTCH_PX = 8
"""So far it reaches into places that are narrower than the square."""

_CROSS = ndimage.generate_binary_structure(2, 1)

_LEAST_PX, _LEAST_SLICES = 16, 2
"""A box is not made smaller than this, if the volume is not."""


@dataclass(frozen=True, slots=True)
class Box:
    """A box in a volume."""

    start_zyx: tuple[int, int, int]
    stop_zyx: tuple[int, int, int]
    shape_dhw: tuple[int, int, int]
    """Of the volume."""

    @property
    def is_whole(self) -> bool:
        """Whether it is the volume."""
        return self.start_zyx == (0, 0, 0) and self.stop_zyx == self.shape_dhw

    @property
    def place(self) -> tuple[slice, slice, slice]:
        """Where it lies: the index that takes it from the volume."""
        z, y, x = (slice(start, stop) for start, stop in zip(self.start_zyx, self.stop_zyx, strict=True))
        return z, y, x


def without_background(values_dhw: Float32Array, mask: BoolArray | None) -> BoolArray | None:
    """Return the voxels that hold a measurement: those of the mask that are in no constant background.

    The background of a slice are areas of one value that reach its border.

    Parameters
    ----------
    values_dhw : ndarray, shape (D, H, W), float32
    mask : ndarray, same shape, bool, optional
        All by default.

    Returns
    -------
    ndarray, shape (D, H, W), bool, or None
        None: all voxels. As given where nothing would be left.
    """
    measured: BoolArray = new_volume(values_dhw.shape, bool)

    def find(index: int) -> None:
        np.logical_not(_background(values_dhw[index]), out=measured[index])

    for_each_slice(find, range(len(values_dhw)))
    if measured.all():
        return mask
    if mask is not None:
        measured &= mask
    return measured if measured.any() else mask


def box_around(mask: BoolArray) -> Box:
    """Return the smallest box that holds all that the mask does, shape (D, H, W), but for a least size."""
    ends = []
    for axis, (size, least) in enumerate(zip(mask.shape, (_LEAST_SLICES, _LEAST_PX, _LEAST_PX), strict=True)):
        others = tuple(other for other in range(3) if other != axis)
        places = np.flatnonzero(mask.any(axis=others))
        start, stop = (int(places[0]), int(places[-1]) + 1) if places.size else (0, size)
        start = max(0, min(start, size - least))
        ends.append((start, max(stop, min(start + least, size))))
    (top, bottom), (front, back), (left, right) = ends
    depth, height, width = mask.shape
    return Box((top, front, left), (bottom, back, right), (depth, height, width))


def _background(values_hw: Float32Array) -> BoolArray:
    if not any(_has_run(line) for line in (*values_hw[[0, -1]], *values_hw.T[[0, -1]])):
        return np.zeros(values_hw.shape, bool)  # most slices: nothing that is constant reaches the border
    # Beyond the border the image goes on as it is there, so half of a square suffices.
    highest = ndimage.maximum_filter(values_hw, _WINDOW_PX, mode="nearest")
    lowest = ndimage.minimum_filter(values_hw, _WINDOW_PX, mode="nearest")
    squares = ndimage.binary_dilation(highest == lowest, np.ones((_WINDOW_PX, _WINDOW_PX), bool))
    rows, columns = (_outer(values_hw.max(axis=axis) == values_hw.min(axis=axis)) for axis in (1, 0))
    squares |= rows[:, None] | columns
    areas, _ = ndimage.label(squares, _CROSS)
    at_border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    background: BoolArray = squares & np.isin(areas, np.unique(at_border))
    if background.any():
        same_value = np.isin(values_hw, np.unique(values_hw[background]))
        background = ndimage.binary_dilation(background, _CROSS, iterations=_NOTCH_PX, mask=same_value)
    return background


def _has_run(line: Float32Array) -> bool:
    """Whether as many voxels of a line are equal as half of a square, or all of it."""
    equal = line[1:] == line[:-1]
    for _ in range(min(_WINDOW_PX // 2 + 1, len(line)) - 2):
        equal = equal[1:] & equal[:-1]
    return bool(equal.any()) or len(line) == 1


def _outer(constant: BoolArray) -> BoolArray:
    """Lines of a slice that are constant, as are all between them and its border."""
    outer: BoolArray = np.minimum.accumulate(constant) | np.minimum.accumulate(constant[::-1])[::-1]
    return outer
