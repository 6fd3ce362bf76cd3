# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Block matching in neighboring slices, and a Wiener filter of each group of similar blocks.

The blocks of a group are transformed together. What they share is in few coefficients; the weights of Wiener, from the
same coefficients of a guide, keep these and lower the others. Each block goes back to where it comes from, and where
blocks overlap their mean is taken. Source: Dabov et al., IEEE Trans Image Process 16 (2007) 2080-2095, second stage of
BM3D; groups over slices as those over frames in Dabov et al., EUSIPCO 2007 (V-BM3D).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import in_memory_of, on_device
from nsn2n.filters.aggregation import Aggregate
from nsn2n.filters.block_transform import (
    BLOCK_PX,
    LEAST_POWER,
    BlockTransform,
    cosines,
    grid,
    groups_at_once,
    places_with,
    tensor,
)

__all__ = ["Groups", "filtered_slices"]

_STEP_PX = 4
"""Between the blocks for which groups are sought."""
_REACH_PX = 4
"""A group's blocks in the same slice are displaced by no more than this, along each axis,"""
_REACH_SLICES, _SHIFT_PX = 3, 1
"""those in so many slices on each side by no more than that."""


class Groups:
    """Finds groups of similar blocks and filters them, in loaded slices whose noise has the sd 1.

    Parameters
    ----------
    shape_hw : sequence of 2 ints
        Rows and columns of a slice, 8 at least.
    noise_power : ndarray, shape (8, 8), float32, > 0
        Power of the noise at each frequency of a block, as :func:`~nsn2n.noise.spectrum.noise_spectrum` returns
        it.
    threshold_sd : float
        What the guide contains at a frequency counts as its own noise up to this many sd of the noise there.
    device : torch.device, optional
        Where to compute; the CPU by default.
    size : int
        Blocks in a group.

    Notes
    -----
    A ring buffer holds as many slices as groups reach. Pixels of all its slots are numbered consecutively.
    """

    def __init__(
        self,
        shape_hw: Sequence[int],
        noise_power: Float32Array,
        threshold_sd: float,
        device: torch.device | None,
        *,
        size: int,
    ) -> None:
        self._device = device
        self._size = size
        self._height, self._width = shape_hw
        self._rows, self._columns = (size - BLOCK_PX + 1 for size in shape_hw)
        self._places = 2 * _REACH_SLICES + 1
        pixels = self._height * self._width
        self._noisy, self._guide = (torch.zeros(self._places * pixels, device=device) for _ in range(2))
        self._estimates = Aggregate(self._places * pixels, device)
        blocks = self._rows * self._columns
        self._block = BlockTransform(noise_power, self._width, device)
        self._features = torch.zeros(self._places * blocks, self._block.compared, device=device)
        self._guide_noise = threshold_sd**2 * self._block.noise_power
        self._over_group = tensor(cosines(size), device)

    def load(self, index: int, noisy_hw: Array, guide_hw: Array, noise_sd_hw: Array) -> None:
        """Load a slice into the slot of one that is no longer needed."""
        place = index % self._places
        count = self._height * self._width
        pixels = slice(place * count, (place + 1) * count)
        self._noisy[pixels] = on_device(noisy_hw / noise_sd_hw, self._device).ravel()
        guide = on_device(guide_hw / noise_sd_hw, self._device)
        self._guide[pixels] = guide.ravel()
        self._estimates.clear(pixels)
        blocks = self._rows * self._columns
        self._features[place * blocks : (place + 1) * blocks] = self._block.features(guide)

    def filter(self, index: int, at_edge_hw: Array, slices: range) -> None:
        """Filter the groups of the blocks of a slice that contain an edge pixel; similar blocks are in ``slices``."""
        grid_rows, grid_columns = (grid(positions, _STEP_PX, self._device) for positions in (self._rows, self._columns))
        rows, columns = places_with(at_edge_hw, grid_rows, grid_columns, BLOCK_PX)
        at_once = groups_at_once(rows.device)
        for group in range(0, len(rows), at_once):
            part = slice(group, group + at_once)
            self._filter(self._similar(index, rows[part], columns[part], slices))

    def result(self, index: int) -> Tensor:
        """The slice as filtered, and as guide where no group has a block, shape (H, W)."""
        pixels = self._height * self._width
        part = slice(index % self._places * pixels, (index % self._places + 1) * pixels)
        return self._estimates.mean(part, self._guide[part]).reshape(self._height, self._width)

    def _similar(self, index: int, rows: Tensor, columns: Tensor, slices: range) -> Tensor:
        """First pixels of the blocks of each group, shape (groups, size), most similar first."""
        distances, pixels = [], []
        own = self._features[self._number(index, rows, columns)][:, None]
        for other in slices:
            reach = _REACH_PX if other == index else _SHIFT_PX
            span = torch.arange(-reach, reach + 1, device=self._device)
            down, right = (shift.ravel() for shift in torch.meshgrid(span, span, indexing="ij"))
            to_row, to_column = rows[:, None] + down, columns[:, None] + right
            at_row, at_column = to_row.clamp(0, self._rows - 1), to_column.clamp(0, self._columns - 1)
            distance = (self._features[self._number(other, at_row, at_column)] - own).square().sum(-1)
            distance[(at_row != to_row) | (at_column != to_column)] = torch.inf
            distances.append(distance)
            first = other % self._places * self._height * self._width
            pixels.append(first + at_row * self._width + at_column)
        nearest = torch.cat(distances, 1).topk(self._size, largest=False).indices
        return torch.cat(pixels, 1).gather(1, nearest)

    def _filter(self, first_pixels: Tensor) -> None:
        """Filter groups of blocks, and add the estimates to the slices."""
        in_block, noise_power = self._block.in_block, self._block.noise_power
        pixels = first_pixels[..., None] + self._block.pixels
        noisy, guide = (self._over_group @ values[pixels] @ in_block.T for values in (self._noisy, self._guide))
        power = guide.square_().sub_(self._guide_noise).clamp_(min=0)
        share = power / (power + noise_power)
        blocks = self._over_group.T @ (noisy.mul_(share)) @ in_block
        # An estimate from fewer coefficients has less noise.
        noise_left = share.square_() @ noise_power
        weight = self._block.window / (noise_left.sum(1)[:, None, None] + LEAST_POWER)
        self._estimates.add(pixels, blocks, weight, self._guide)

    def _number(self, index: int, rows: Tensor, columns: Tensor) -> Tensor:
        return (index % self._places * self._rows + rows) * self._columns + columns


def filtered_slices(
    groups: Groups,
    noisy_dhw: Array,
    guide_dhw: Array,
    noise_sd: Callable[[int], Array],
    wanted: Callable[[int], Array],
) -> Iterator[tuple[int, Array]]:
    """Yield the index of each slice and its filtered values, shape (H, W), in noise sd.

    Parameters
    ----------
    groups : Groups
        With no slice loaded.
    noisy_dhw, guide_dhw : array, shape (D, H, W), float32, finite
        A slice of the guide is not read after it has been yielded.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    wanted : callable
        Pixels of the slice with that index whose blocks are filtered, shape (H, W).
    """
    depth, loaded = len(noisy_dhw), 0
    for index in range(depth + _REACH_SLICES):
        while loaded < min(index + _REACH_SLICES + 1, depth):
            groups.load(loaded, noisy_dhw[loaded], guide_dhw[loaded], noise_sd(loaded))
            loaded += 1
        if index < depth:
            groups.filter(index, wanted(index), range(max(index - _REACH_SLICES, 0), loaded))
        finished = index - _REACH_SLICES
        if finished >= 0:
            yield finished, in_memory_of(groups.result(finished), noisy_dhw)
