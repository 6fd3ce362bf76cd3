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
from nsn2n.noise.blocks import BLOCK_PX
from nsn2n.stack.shear import Layout
from nsn2n.stack.slice_stack import SliceStack

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
        self.pairs: list[Pair] = []
        """Return all pairs, in order."""
        for place, shear_px in zip(stack.places, shears_px, strict=True):
            slices = place.stop - place.start
            layout = Layout((slices, *shape_hw), shear_px)
            for index in range(slices - 1):
                self.pairs.append(Pair(place.start + index, *layout.overlap(index, index + 1)))

    def usable(self, pair: Pair) -> BoolArray:
        """Return where both slices of a pair hold a measurement, shape (h, w)."""
        if self._valid is None:
            size = [place.stop - place.start for place in pair.in_first]
            return np.ones(size, bool)
        before, after = pair.both(self._valid)
        return np.asarray(before & after)

    def noise(self, noise_sd_dhw: Float32Array) -> Float32Array:
        """Return the noise sd of each block of each slice, shape (D, ceil(H / 16), ceil(W / 16)).

        0 where a slice does not overlap its neighbors, or one of them holds no measurement.

        Parameters
        ----------
        noise_sd_dhw : ndarray, shape (D, H, W)
            That of each voxel (`DenoiseResult.noise_sd`).
        """
        following = {pair.first: pair for pair in self.pairs}
        blocks = []
        for index, sd_hw in enumerate(noise_sd_dhw):
            compared_hw = np.zeros(sd_hw.shape, bool)
            if index in following:
                compared_hw[following[index].in_first] = self.usable(following[index])
            if index - 1 in following:
                compared_hw[following[index - 1].in_second] |= self.usable(following[index - 1])
            blocks.append(_block_sums(sd_hw * compared_hw) / np.maximum(_block_sums(compared_hw), 1))
        return np.stack(blocks)


def _block_sums(values_hw: NDArray[Any]) -> Float32Array:
    """Sum over each block of a slice, shape (ceil(H / 16), ceil(W / 16))."""
    rows, columns = (np.arange(0, size, BLOCK_PX) for size in values_hw.shape)
    of_rows = np.add.reduceat(values_hw, rows, axis=0, dtype=np.float32)
    return np.asarray(np.add.reduceat(of_rows, columns, axis=1), dtype=np.float32)
