# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Alignment by whole pixels of slices that are displaced in their plane, as by a tilted gantry.

Nothing is interpolated: each slice is put on a larger canvas at the position where its neighbors show the same
tissue, and extracted again. Up to half a pixel of displacement remains between neighbors.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Shear
from nsn2n.runtime.volumes import new_volume

__all__ = ["Layout", "layout_of"]

logger = logging.getLogger(__name__)

_LARGEST_CANVAS = 2.5
"""In areas of a slice; a stack with a larger canvas is denoised without alignment."""


class Layout:
    """Position of each slice of a sheared stack on a canvas that holds them all."""

    def __init__(self, shape_dhw: tuple[int, ...], shear_px: Shear) -> None:
        """Place the slices.

        Parameters
        ----------
        shape_dhw : (D, H, W)
        shear_px : (rows, columns)
            Displacement of each slice relative to the one before, along the columns and along the rows.
        """
        depth, height, width = shape_dhw
        self.shear_px = shear_px
        offsets = np.rint(np.outer(np.arange(depth), shear_px)).astype(int)
        self._offsets = offsets - offsets.min(axis=0)
        self._size = (height, width)
        rows, columns = self._offsets.max(axis=0)
        self.shape_dhw = (depth, height + int(rows), width + int(columns))

    @property
    def moves(self) -> bool:
        """Whether any slice is moved relative to another."""
        return bool(self._offsets.any())

    @property
    def area(self) -> float:
        """Area of the canvas, in areas of a slice."""
        return self.shape_dhw[1] * self.shape_dhw[2] / (self._size[0] * self._size[1])

    def spread(self, volume_dhw: NDArray[Any], fill: Any) -> NDArray[Any]:
        """Put slices, shape (D, H, W), onto their canvases, whose other voxels get a value."""
        canvas: NDArray[Any] = new_volume(self.shape_dhw, volume_dhw.dtype)
        canvas[...] = fill
        for place, slice_hw in zip(self._places(), volume_dhw, strict=True):
            canvas[place] = slice_hw
        return canvas

    def gather(self, canvas_dhw: NDArray[Any]) -> NDArray[Any]:
        """Take the slices, shape (D, H, W), from their canvases."""
        places = self._places()
        slices: NDArray[Any] = new_volume((len(places), *self._size), canvas_dhw.dtype)
        for slice_hw, place in zip(slices, places, strict=True):
            slice_hw[...] = canvas_dhw[place]
        return slices

    def overlap(self, first: int, second: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
        """Return the overlap of two slices: the (rows, columns) of the one, and those of the other."""
        moved = self._offsets[second] - self._offsets[first]
        ends = [(int(shift), max(size - abs(int(shift)), 0)) for shift, size in zip(moved, self._size, strict=True)]
        in_first, in_second = (
            tuple(slice(max(sign * shift, 0), max(sign * shift, 0) + length) for shift, length in ends)
            for sign in (1, -1)
        )
        return (in_first[0], in_first[1]), (in_second[0], in_second[1])

    def offset(self, index: int) -> tuple[int, int]:
        """Return the first (row, column) of a slice on its canvas."""
        row, column = self._offsets[index].tolist()
        return row, column

    def _places(self) -> list[tuple[int, slice, slice]]:
        height, width = self._size
        return [
            (index, slice(row, row + height), slice(column, column + width))
            for index, (row, column) in enumerate(self._offsets.tolist())
        ]


def layout_of(shape_dhw: tuple[int, ...], shear_px: Shear) -> Layout | None:
    """Return the layout of a sheared stack; None if nothing has to be moved, or too far."""
    layout = Layout(shape_dhw, shear_px)
    if layout.area > _LARGEST_CANVAS:
        logger.warning("the stack is sheared too far for its slices to be aligned: less noise is removed")
        return None
    return layout if layout.moves else None
