# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of similar block stacks, which extend over several slices, and a Wiener filter of each group.

A stack is the same square of several neighboring slices. Noise is independent from slice to slice, so a stack has as
many independent samples as slices, while blocks of one slice that overlap share their noise. The similar stacks of a
group are transformed together, in four dimensions; the Wiener weights, from the same coefficients of a pilot, keep
what they share. Source: Maggioni et al., IEEE Trans Image Process 22 (2013) 119-133 (BM4D, second stage). Stacks whose
slices differ are not transformed along the slices: each slice then has weights of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
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
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation, power_along
from nsn2n.runtime.compute import at_once
from nsn2n.runtime.cpus import in_order

__all__ = ["StackFilter", "filtered_stacks"]

_STEP_PX, _STEP_SLICES = 6, 2
"""Step between the reference stacks."""
_SLICES = 3
"""Slices per stack, or as many as there are. More thick slices would have little in common."""
_PIXELS_AT_ONCE = 2**21
"""Of slices whose stacks are filtered together, or the slices of one stack."""
_REACH_PX = 4
"""A group's stacks are displaced by no more than this, along each axis."""


@dataclass(frozen=True, slots=True)
class _Part:
    """Reference stacks that are filtered together: they start at one slice, in a few rows."""

    first_slice: int
    rows: Tensor
    columns: Tensor


@dataclass(frozen=True, slots=True)
class _Estimates:
    """What the groups of a part add to some rows of its slices."""

    first_slice: int
    rows: slice
    sums: Aggregate
    """Of these rows, slice after slice."""


class StackFilter:
    """Finds groups of similar stacks and filters them, in slices whose noise has the sd 1.

    Parameters
    ----------
    shape_dhw : sequence of 3 ints
        Of the volume; 8 rows and columns at least.
    noise_power : ndarray, shape (8, 8), float32, > 0
        Power of the noise at each frequency of a block, as
        :func:`~nsn2n.noise.spectrum.noise_spectrum` returns it.
    noise_factor : float
        Factor on the noise power in the weights.
    size : int
        Stacks in a group.
    device : torch.device, optional
        Where to compute; the CPU by default.
    along : SliceCorrelation
        Of the noise; none by default.

    Notes
    -----
    A ring buffer holds the slices of the stacks that start at so many slices, ``firsts_at_once``. Parts of them are
    independent: threads filter them, and their sums are added in order, so that the result is the same with any number
    of threads.
    """

    def __init__(
        self,
        shape_dhw: Sequence[int],
        noise_power: Float32Array,
        noise_factor: float,
        size: int,
        device: torch.device | None = None,
        *,
        along: SliceCorrelation = INDEPENDENT,
    ) -> None:
        depth, self._height, self._width = shape_dhw
        self.slices = min(_SLICES, depth)
        self.device, self._size = device, size
        self._pixels = self._height * self._width
        self.firsts_at_once = max(_PIXELS_AT_ONCE // (_STEP_SLICES * self._pixels), 1)
        self._slots = min((self.firsts_at_once - 1) * _STEP_SLICES + self.slices, depth)
        self._noisy, self._pilot = (torch.zeros(self._slots * self._pixels, device=device) for _ in range(2))
        self._estimates = Aggregate(self._slots * self._pixels, device)
        self._block = BlockTransform(noise_power, self._width, device)
        self._noise_factor = noise_factor
        along_slices = power_along(along, self.slices)
        self._power_along = tensor(np.tile(along_slices, size)[:, None], device)
        self._power_of_slice = torch.ones(1, 1, device=device)
        self._cosines_along = tensor(cosines(self.slices), device)
        self._over_group = tensor(np.kron(cosines(size), cosines(self.slices)), device)
        self._most_of_similar = size * float(along_slices[1:].sum()) * float(noise_power.sum())
        span = torch.arange(-_REACH_PX, _REACH_PX + 1, device=device)
        self._down, self._right = (shift.ravel() for shift in torch.meshgrid(span, span, indexing="ij"))
        self._rows, self._columns = self._height - BLOCK_PX + 1, self._width - BLOCK_PX + 1

    def load(self, index: int, noisy_hw: Array, pilot_hw: Array, noise_sd_hw: Array) -> None:
        """Load a slice into the slot of one that is no longer needed."""
        part = self._place(index)
        self._noisy[part] = on_device(noisy_hw / noise_sd_hw, self.device).ravel()
        self._pilot[part] = on_device(pilot_hw / noise_sd_hw, self.device).ravel()
        self._estimates.clear(part)

    def parts(self, first_slice: int, wanted_hw: Array | None) -> Iterator[_Part]:
        """Yield the reference stacks that start at a slice and contain a wanted pixel; None: all."""
        grid_rows, grid_columns = (grid(positions, _STEP_PX, self.device) for positions in (self._rows, self._columns))
        rows, columns = places_with(wanted_hw, grid_rows, grid_columns, BLOCK_PX)
        at_once = groups_at_once(rows.device)
        for start in range(0, len(rows), at_once):
            part = slice(start, start + at_once)
            yield _Part(first_slice, rows[part], columns[part])

    def filter(self, part: _Part) -> _Estimates:
        """Filter the groups of a part, whose slices are loaded."""
        rows = self._within_reach(part.rows)
        noisy, pilot = (
            torch.stack([values[place] for place in self._places(part.first_slice, rows)])
            for values in (self._noisy, self._pilot)
        )
        features = self._block.features(pilot.mean(0).reshape(-1, self._width))
        first_pixels = self._similar(features, part.rows - rows.start, part.columns)
        slices = torch.arange(0, noisy.numel(), noisy.shape[1], device=self.device)
        sums = Aggregate(noisy.numel(), self.device)
        noisy, pilot = noisy.ravel(), pilot.ravel()
        sums.add(*self._filtered((first_pixels[..., None] + slices).flatten(1), noisy, pilot), pilot)
        return _Estimates(part.first_slice, rows, sums)

    def add(self, estimates: _Estimates) -> None:
        """Add the estimates of a part to its slices."""
        self._estimates.include(estimates.sums, self._places(estimates.first_slice, estimates.rows))

    def result(self, index: int) -> Tensor:
        """The slice as filtered, and as in the pilot where no group has a block, shape (H, W)."""
        part = self._place(index)
        return self._estimates.mean(part, self._pilot[part]).reshape(self._height, self._width)

    def _place(self, index: int) -> slice:
        """Pixels of a slice, in its slot."""
        start = index % self._slots * self._pixels
        return slice(start, start + self._pixels)

    def _places(self, first_slice: int, rows: slice) -> list[slice]:
        """Pixels of some rows of the slices of a stack."""
        starts = [self._place(first_slice + index).start for index in range(self.slices)]
        return [slice(start + rows.start * self._width, start + rows.stop * self._width) for start in starts]

    def _within_reach(self, rows: Tensor) -> slice:
        """Rows of the pixels of groups whose reference stacks start in some rows."""
        if rows.is_cuda:  # to look at them would mean to wait for the GPU
            return slice(0, self._height)
        first, last = int(rows.min()) - _REACH_PX, int(rows.max()) + _REACH_PX
        return slice(max(first, 0), min(last + BLOCK_PX, self._height))

    def _similar(self, features: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """First pixels of the stacks of each group, shape (groups, size), most similar first.

        All is counted from the row and column of the first feature.
        """
        last_row = len(features) // self._columns - 1
        to_row, to_column = rows[:, None] + self._down, columns[:, None] + self._right
        at_row, at_column = to_row.clamp(0, last_row), to_column.clamp(0, self._columns - 1)
        own = features[rows * self._columns + columns][:, None]
        distance = (features[at_row * self._columns + at_column] - own).square().sum(-1)
        distance[(at_row != to_row) | (at_column != to_column)] = torch.inf
        nearest = distance.topk(self._size, largest=False).indices
        return (at_row * self._width + at_column).gather(1, nearest)

    def _filtered(self, first_pixels: Tensor, noisy: Tensor, pilot: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Filter groups of stacks: return the pixels of their blocks, their estimates, and the weights."""
        in_block = self._block.in_block
        pixels = first_pixels[..., None] + self._block.pixels
        noisy, pilot = (self._over_group @ values[pixels] @ in_block.T for values in (noisy, pilot))
        share, noise_left = self._shares(pilot, self._power_along)
        total = noise_left.sum(1, keepdim=True).repeat(1, noise_left.shape[1])
        # What one slice of a stack has alone is in all coefficients along the slices, and with it the noise of all.
        # So slices that differ are not transformed along them, if that leaves less noise.
        power_of_differences = self._of_slices(pilot)[:, :, 1:].square().sum((1, 2, 3))
        differing = (power_of_differences > self._most_of_similar).nonzero()[:, 0]
        separate, left = self._shares(self._along_slices(pilot[differing], self._cosines_along.T), self._power_of_slice)
        less = left.sum(1) < total[differing, 0]
        chosen, left = differing[less], self._of_slices(left[less])
        kept = self._along_slices(noisy[chosen], self._cosines_along.T) * separate[less]
        noisy[chosen] = self._along_slices(kept, self._cosines_along)
        share[chosen] = 1
        total[chosen] = self.slices * left.sum(1).repeat(1, self._size)
        blocks = self._over_group.T @ noisy.mul_(share) @ in_block
        # An estimate from fewer coefficients has less noise.
        return pixels, blocks, self._block.window / (total[..., None] + LEAST_POWER)

    def _shares(self, pilot: Tensor, power_along: Tensor) -> tuple[Tensor, Tensor]:
        """Weights of Wiener of the coefficients, shape (groups, blocks, 64), and the noise that they leave.

        The noise of each block has the power of its frequency along the slices, shape (blocks, 1), or of a slice.
        """
        power = pilot.square()
        share = power / (power + self._noise_factor * power_along * self._block.noise_power)
        return share, (share.square() @ self._block.noise_power) * power_along[:, 0]

    def _of_slices(self, coefficients: Tensor) -> Tensor:
        """Values of groups with the blocks of a stack along a separate axis, shape (groups, stacks, slices, ...)."""
        return coefficients.reshape(-1, self._size, self.slices, *coefficients.shape[2:])

    def _along_slices(self, coefficients: Tensor, transform: Tensor) -> Tensor:
        """Transform coefficients of groups along the slices, shape (groups, blocks, 64)."""
        return (transform @ self._of_slices(coefficients)).flatten(1, 2)


def filtered_stacks(
    stacks: StackFilter,
    noisy_dhw: Array,
    pilot_dhw: Array,
    noise_sd: Callable[[int], Array],
    wanted: Callable[[slice], Array | None],
) -> Iterator[tuple[int, Array]]:
    """Yield the index of each slice and its filtered values, shape (H, W), in noise sd.

    Parameters
    ----------
    stacks : StackFilter
        With no slice loaded.
    noisy_dhw, pilot_dhw : array, shape (D, H, W), float32, finite
        A slice of the pilot is not read after it has been yielded.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    wanted : callable
        Pixels of which stacks through those slices are filtered, shape (H, W); None: all.
    """
    depth = len(noisy_dhw)
    last = depth - stacks.slices
    firsts = sorted({*range(0, last, _STEP_SLICES), last})
    loaded, count = 0, stacks.firsts_at_once
    for start in range(0, len(firsts), count):
        together = firsts[start : start + count]
        while loaded < together[-1] + stacks.slices:
            stacks.load(loaded, noisy_dhw[loaded], pilot_dhw[loaded], noise_sd(loaded))
            loaded += 1
        parts = (
            part for first in together for part in stacks.parts(first, wanted(slice(first, first + stacks.slices)))
        )
        for estimates in in_order(stacks.filter, parts, most=at_once(stacks.device)):
            stacks.add(estimates)
        following = firsts[start + count] if start + count < len(firsts) else depth
        for finished in range(together[0], following):
            yield finished, in_memory_of(stacks.result(finished), noisy_dhw)
