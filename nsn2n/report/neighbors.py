# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Neighboring slices of a result, compared where both hold a measurement.

Slices of a sheared stack are compared as they were denoised, aligned by whole pixels; slices of different parts are
never compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import BoolArray, Float32Array, Shear
from nsn2n.arrays.either import empty_like
from nsn2n.noise.blocks import BLOCK_PX, noise_sd_slice
from nsn2n.noise.level import estimate_noise
from nsn2n.stack.shear import Layout
from nsn2n.stack.slice_stack import SliceStack
from nsn2n.stack.validation import fill_invalid

__all__ = ["Neighbors", "Pair"]


@dataclass(frozen=True)
class Pair:
    """A slice and the next one, and where they overlap: an area of shape (h, w) of each."""

    first: int
    in_first: tuple[slice, slice]
    in_second: tuple[slice, slice]

    def both(self, volume_dhw: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return that area of both slices."""
        return volume_dhw[self.first][self.in_first], volume_dhw[self.first + 1][self.in_second]

    def difference(self, volume_dhw: Float32Array) -> Float32Array:
        """Return the second minus the first, shape (h, w); 0 where that is not finite."""
        before, after = self.both(volume_dhw)
        with np.errstate(invalid="ignore"):
            return np.asarray(np.nan_to_num(after - before, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float32)


class Neighbors:
    """The neighboring slices of a stack.

    Parameters
    ----------
    stack : SliceStack
    shears_px : sequence of (rows, columns)
        Of each part, if its slices were aligned with each other (`DenoiseResult.shears_px`).
    """

    def __init__(self, stack: SliceStack, shears_px: Sequence[Shear]) -> None:
        _, *shape_hw = stack.shape_dhw
        self._valid = stack.mask
        self._parts: list[tuple[slice, Layout]] = []
        self.pairs: list[Pair] = []
        """Return all pairs, in order."""
        for place, shear_px in zip(stack.places, shears_px, strict=True):
            slices = place.stop - place.start
            layout = Layout((slices, *shape_hw), shear_px)
            self._parts.append((place, layout))
            for index in range(slices - 1):
                self.pairs.append(Pair(place.start + index, *layout.overlap(index, index + 1)))

    def usable(self, pair: Pair) -> BoolArray:
        """Return where both slices of a pair hold a measurement, shape (h, w)."""
        if self._valid is None:
            size = [place.stop - place.start for place in pair.in_first]
            return np.ones(size, bool)
        before, after = pair.both(self._valid)
        return np.asarray(before & after)

    def noise(self, volume_dhw: Float32Array) -> Float32Array:
        """Noise sd of each block of each slice, shape (D, ceil(H / 16), ceil(W / 16)).

        0 where a slice does not overlap its neighbors, or one of them holds no measurement.
        """
        blocks = np.zeros((len(volume_dhw), *(-(-size // BLOCK_PX) for size in volume_dhw.shape[1:])), np.float32)
        for place, layout in self._parts:
            if place.stop - place.start > 1:
                valid = None if self._valid is None else self._valid[place]
                blocks[place] = _noise(volume_dhw[place], valid, layout)
        return blocks


def _noise(volume_dhw: Float32Array, valid: BoolArray | None, layout: Layout) -> Float32Array:
    """Noise by blocks of one part."""
    if valid is None and not layout.moves:
        return estimate_noise(volume_dhw)
    # A mask of no size in memory, if all voxels are valid.
    valid = layout.spread(np.broadcast_to(True, volume_dhw.shape) if valid is None else valid, False)
    compared = _compared(valid)
    noise = estimate_noise(fill_invalid(layout.spread(volume_dhw, 0), valid), valid)
    if not layout.moves:
        return np.where(_block_sums(compared) > 0, noise, np.float32(0))
    # The blocks of the canvas are not aligned with those of the slices.
    sd = empty_like(compared, np.float32)
    for sd_hw, noise_hw, compared_hw in zip(sd, noise, compared, strict=True):
        np.multiply(noise_sd_slice(noise_hw, layout.shape_dhw[1:]), compared_hw, out=sd_hw)
    sums, counts = _block_sums(layout.gather(sd)), _block_sums(layout.gather(compared))
    return np.asarray(sums / np.maximum(counts, 1), dtype=np.float32)


def _compared(valid: BoolArray) -> BoolArray:
    """Voxels that have a difference to a neighbor, shape (D, H, W)."""
    compared: BoolArray = empty_like(valid)
    compared[...] = False
    for index in range(len(valid) - 1):
        both = valid[index] & valid[index + 1]
        compared[index] |= both
        compared[index + 1] |= both
    return compared


def _block_sums(values_dhw: NDArray[Any]) -> Float32Array:
    """Sum over each block of each slice, shape (D, ceil(H / 16), ceil(W / 16))."""
    rows, columns = (np.arange(0, size, BLOCK_PX) for size in values_dhw.shape[1:])
    # Slice by slice, to save memory.
    return np.stack(
        [
            np.add.reduceat(np.add.reduceat(values_hw, rows, axis=0, dtype=np.float32), columns, axis=1)
            for values_hw in values_dhw
        ]
    )
