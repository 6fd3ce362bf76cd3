# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of similar cubes of a volume: search, shrinkage and aggregation.

If slices are as close as pixels, a small cube has many similar ones: along an edge, and in the slices around.
The cubes of a group are transformed together, in four dimensions. Source: Maggioni et al., IEEE Trans Image Process 22
(2013) 119-133 (BM4D); here similar cubes are searched for in a denoised volume, and only once.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import on_device
from nsn2n.filters.aggregation import Aggregate
from nsn2n.filters.block_transform import LEAST_POWER, cosines, places_with, tensor, without_tf32
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation, power_along
from nsn2n.runtime.compute import at_once
from nsn2n.runtime.cpus import in_order
from nsn2n.runtime.volumes import new_volume

__all__ = ["CUBE_PX", "Cubes", "Group", "GroupStore", "Shrinkage"]

CUBE_PX = 4
"""Edge of the cubes, or as many slices as there are."""
_STEP_SLICES = 2
"""Step between the reference cubes."""
_REACH_SLICES, _REACH_PX = 2, 4
"""A group's cubes are displaced by no more than this."""
_HIGHEST_FREQUENCY, _HIGHEST_SUM = 2, 3
"""Cubes are compared by the frequencies up to the first along each axis, and together up to the second."""
_OUTSIDE = 1e6
"""Feature of positions where no cube fits: nothing is similar to it."""
_WINDOW_BETA = 2.0
"""Shape parameter of the Kaiser window: the middle of a cube has more weight than its rim."""
_GROUPS_AT_ONCE, _GROUPS_AT_ONCE_CUDA = 64, 2**13
_PARTS_OF_A_THREAD = 8
"""So many times those are filtered by one thread, after another."""
_ROWS_AT_ONCE = 64
_SLAB_VOXELS = 2**18
"""Slices are processed together up to about this many voxels."""

Item = TypeVar("Item")
Result = TypeVar("Result")
Shrinkage = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From the coefficients of noisy groups and of their guide, shape (groups, cubes, 64), and the power of the noise in
them, shape (64,), the fraction kept of each."""
Slices = Callable[[int], Array]
"""The slice with that index, shape (H, W), in noise sd."""


@dataclass(frozen=True, slots=True)
class Group:
    """The groups of some positions in a volume."""

    first_slice: int
    places: Tensor
    """First voxels of the reference cubes, counted from the first slice, shape (groups,)."""
    members: Tensor
    """The similar cubes, by the number of their displacement, shape (groups, cubes), int16."""


class Cubes:
    """Finds groups of similar cubes in a volume and filters them.

    Parameters
    ----------
    shape_dhw : sequence of 3 ints
        Of the volume; 2 slices, 8 rows and 8 columns at least.
    noise_power : ndarray, shape (4, 4), float32, > 0
        Power of the noise at each in-plane frequency of a cube, of mean 1.
    size : int
        Cubes in a group, or as many as there are.
    step_px : int
        Step between the reference cubes, along rows and columns.
    device : torch.device, optional
        Where to compute; the CPU by default.
    along : SliceCorrelation
        Of the noise; none by default.
    """

    def __init__(
        self,
        shape_dhw: Sequence[int],
        noise_power: Float32Array,
        size: int,
        step_px: int,
        device: torch.device | None = None,
        *,
        along: SliceCorrelation = INDEPENDENT,
    ) -> None:
        self._depth, self._height, self._width = shape_dhw
        self._pixels = self._height * self._width
        self._slices = min(CUBE_PX, self._depth)
        # As many as there are around a cube in a corner, at least.
        most = min(self._depth - self._slices, _REACH_SLICES) + 1
        for edge in (self._height, self._width):
            most *= min(edge - CUBE_PX, _REACH_PX) + 1
        self._size, self._device = min(size, most), device
        on_cpu = device is None or device.type == "cpu"
        self._at_once = _GROUPS_AT_ONCE if on_cpu else _GROUPS_AT_ONCE_CUDA
        across, in_plane = cosines(self._slices), cosines(CUBE_PX)
        self._cosines_along = tensor(across, device)
        along_slices = power_along(along, self._slices)
        self._most_of_similar = self._size * float(along_slices[1:].sum()) * float(noise_power.sum())
        self._in_cube = tensor(np.kron(across, np.kron(in_plane, in_plane)), device)
        self._over_group = tensor(cosines(self._size), device)
        self._power_of_slices = tensor(np.tile(noise_power.ravel(), self._slices), device)
        self._power = tensor(np.kron(along_slices, noise_power.ravel()), device)
        lowest = self._in_cube.reshape(self._slices, CUBE_PX, CUBE_PX, 1, self._slices, CUBE_PX, CUBE_PX)
        lowest = lowest / self._power.reshape(self._slices, CUBE_PX, CUBE_PX, 1, 1, 1, 1).sqrt()
        frequencies = np.indices((self._slices, CUBE_PX, CUBE_PX)).reshape(3, -1)
        compared = (frequencies.max(axis=0) <= _HIGHEST_FREQUENCY) & (frequencies.sum(axis=0) <= _HIGHEST_SUM)
        self._kernels = lowest.flatten(0, 2)[torch.from_numpy(np.flatnonzero(compared)).to(device)]
        windows = [np.kaiser(edge, _WINDOW_BETA) for edge in (self._slices, CUBE_PX, CUBE_PX)]
        self._window = tensor(np.einsum("i,j,k->ijk", *windows).ravel(), device)
        positions = (self._depth - self._slices, self._height - CUBE_PX, self._width - CUBE_PX)
        steps = (_STEP_SLICES, step_px, step_px)
        self._grid = [sorted({*range(0, last, step), last}) for last, step in zip(positions, steps, strict=True)]

    def groups(self, guide: Slices, wanted: Callable[[slice], Array | None]) -> Iterator[Group]:
        """Yield the groups of similar cubes of a volume, slab by slab.

        Parameters
        ----------
        guide : callable
            The slices of the volume that is compared.
        wanted : callable
            Pixels of which cubes through those slices are filtered, shape (H, W); None: all.
        """
        last = self._depth - self._slices
        row = self._width - CUBE_PX + 1 + 2 * _REACH_PX
        plane = (self._height - CUBE_PX + 1 + 2 * _REACH_PX) * row
        displacements = self._displacements(plane, row)
        for firsts in self._slabs():
            start, end = max(firsts[0] - _REACH_SLICES, 0), min(firsts[-1] + _REACH_SLICES, last)
            loaded = self._load(guide, slice(start, end + self._slices)).reshape(1, 1, -1, self._height, self._width)
            # Includes positions outside the volume, where no cube fits. A few rows at a time: convolution takes many
            # times its own memory.
            count = firsts[-1] - firsts[0] + 1 + 2 * _REACH_SLICES
            features = torch.full((count, plane // row, row, len(self._kernels)), _OUTSIDE, device=self._device)
            before = start - (firsts[0] - _REACH_SLICES)
            rows_in_turn = range(0, self._height - CUBE_PX + 1, _ROWS_AT_ONCE)

            def features_of(place: tuple[int, int], loaded: Tensor = loaded) -> tuple[int, int, Tensor]:
                index, top = place
                part = loaded[:, :, index : index + self._slices, top : top + _ROWS_AT_ONCE + CUBE_PX - 1]
                with without_tf32(part):
                    return index, top, F.conv3d(part, self._kernels)[0, :, 0].permute(1, 2, 0)

            for index, top, found in self._in_order(
                features_of, itertools.product(range(end + 1 - start), rows_in_turn)
            ):
                inside = features[before + index, _REACH_PX:-_REACH_PX, _REACH_PX:-_REACH_PX]
                inside[top : top + _ROWS_AT_ONCE] = found
            features = features.flatten(0, 2)
            for first in firsts:
                rows, columns = self._places(wanted(slice(first, first + self._slices)))
                own = (first - firsts[0] + _REACH_SLICES) * plane + (rows + _REACH_PX) * row + columns + _REACH_PX
                similar = partial(self._similar, features, displacements)
                members = list(self._in_order(similar, self._together(own)))
                if members:
                    yield Group(first, rows * self._width + columns, torch.cat(members))
            del features, own, similar  # before those of the next slab are made

    def store(self) -> GroupStore:
        """Return a store for the groups of the volume."""
        firsts, rows, columns = (len(axis) for axis in self._grid)
        return GroupStore(firsts, rows * columns, self._size, self._device)

    def filtered(
        self, groups: Iterator[Group], noisy: Slices, guide: Slices, shrinkage: Shrinkage
    ) -> Iterator[tuple[int, Tensor]]:
        """Yield the index of each slice and its filtered values, shape (H, W), in noise sd.

        Parameters
        ----------
        groups : iterator of Group
            In the order of slices.
        noisy, guide : callable
            Slices of the volumes; where no group has a cube the guide is kept. A slice that has been yielded is not
            requested again.
        shrinkage : callable
        """
        window = _Window(self._pixels, self._device)
        for group in groups:
            first = group.first_slice
            yield from self._finished(window, first - _REACH_SLICES)
            window.load(min(first + _REACH_SLICES + self._slices, self._depth), self._both(noisy, guide))
            work = partial(self._filtered, window, first, shrinkage)
            parts = zip(self._together(group.places), self._together(group.members), strict=True)
            for places, sums in self._in_order(work, parts):
                window.estimates.include(sums, places)
        window.load(self._depth, self._both(noisy, guide))
        yield from self._finished(window, self._depth)

    def _filtered(
        self, window: _Window, first: int, shrinkage: Shrinkage, groups: tuple[Tensor, Tensor]
    ) -> tuple[list[slice], Aggregate]:
        """Filter groups: return the sums of their estimates, and where these are in the window."""
        slices = range(max(first - _REACH_SLICES, 0), min(first + _REACH_SLICES + self._slices, self._depth))
        rows = self._within_reach(groups[0])
        plane = (rows.stop - rows.start) * self._width
        places = []
        for index in slices:
            start = (index - window.first) * self._pixels + rows.start * self._width
            places.append(slice(start, start + plane))
        noisy, guide = (torch.cat([values[place] for place in places]) for values in (window.noisy, window.guide))
        sums = Aggregate(len(noisy), self._device)
        displacements = self._displacements(plane, self._width)
        voxels = self._flat(range(self._slices), range(CUBE_PX), range(CUBE_PX), plane, self._width)
        base = (first - slices.start) * plane - rows.start * self._width
        for firsts, members in zip(*(self._parts(of_groups) for of_groups in groups), strict=True):
            first_voxels = firsts[:, None] + base + displacements[members.long()]
            self._filter(noisy, guide, sums, first_voxels[..., None] + voxels, shrinkage)
        return places, sums

    def _filter(self, noisy: Tensor, guide: Tensor, sums: Aggregate, voxels: Tensor, shrinkage: Shrinkage) -> None:
        reference = guide
        noisy, guide = (self._over_group @ values[voxels] @ self._in_cube.T for values in (noisy, guide))
        share = shrinkage(noisy, guide, self._power)
        noise_left = (share.square() @ self._power).sum(1)
        # What one slice of a cube has alone is in all coefficients along the slices, and with it the noise of all. So
        # slices that differ are not transformed along them, if that leaves less noise.
        power_of_differences = self._of_slices(guide)[:, :, 1:].square().sum((1, 2, 3))
        differing = (power_of_differences > self._most_of_similar).nonzero()[:, 0]
        separate_noisy, separate_guide = (
            self._along_slices(values[differing], self._cosines_along.T) for values in (noisy, guide)
        )
        separate = shrinkage(separate_noisy, separate_guide, self._power_of_slices)
        left = (separate.square() @ self._power_of_slices).sum(1)
        less = left < noise_left[differing]
        chosen = differing[less]
        noisy[chosen] = self._along_slices(separate_noisy[less] * separate[less], self._cosines_along)
        share[chosen], noise_left[chosen] = 1, left[less]
        cubes = self._over_group.T @ noisy.mul_(share) @ self._in_cube
        # An estimate from fewer coefficients has less noise.
        weight = self._window / (noise_left[:, None, None] + LEAST_POWER)
        sums.add(voxels, cubes, weight, reference)

    def _of_slices(self, coefficients: Tensor) -> Tensor:
        """Coefficients of groups with the slices along a separate axis, shape (groups, cubes, slices, 16)."""
        return coefficients.reshape(-1, self._size, self._slices, CUBE_PX**2)

    def _along_slices(self, coefficients: Tensor, transform: Tensor) -> Tensor:
        """Transform coefficients of groups along the slices, shape (groups, cubes, 16 times the slices)."""
        return (transform @ self._of_slices(coefficients)).flatten(2)

    def _similar(self, features: Tensor, displacements: Tensor, own: Tensor) -> Tensor:
        """Numbers of the displacements of the most similar cubes, shape (groups, size)."""
        nearest = []
        for part in self._parts(own):
            difference = features[part[:, None] + displacements].sub_(features[part][:, None])
            nearest.append(difference.square_().sum(-1).topk(self._size, largest=False).indices)
        return torch.cat(nearest).to(torch.int16)

    def _places(self, wanted_hw: Array | None) -> tuple[Tensor, Tensor]:
        """Return rows and columns where the reference cubes start."""
        grid_rows, grid_columns = (on_device(np.asarray(positions), self._device) for positions in self._grid[1:])
        return places_with(wanted_hw, grid_rows, grid_columns, CUBE_PX)

    def _slabs(self) -> Iterator[list[int]]:
        """Return the first slices of cubes, grouped by what is processed together."""
        together = max(_SLAB_VOXELS // (_STEP_SLICES * self._pixels), 1)
        for start in range(0, len(self._grid[0]), together):
            yield self._grid[0][start : start + together]

    def _finished(self, window: _Window, end: int) -> Iterator[tuple[int, Tensor]]:
        for index, filtered in window.finish(end):
            yield index, filtered.reshape(self._height, self._width)

    def _both(self, noisy: Slices, guide: Slices) -> Callable[[slice], tuple[Tensor, Tensor]]:
        return lambda part: (self._load(noisy, part), self._load(guide, part))

    def _load(self, slices: Slices, part: slice) -> Tensor:
        return torch.stack([on_device(slices(index), self._device) for index in range(part.start, part.stop)]).ravel()

    def _parts(self, of_groups: Tensor) -> Sequence[Tensor]:
        """What is processed at once."""
        return torch.split(of_groups, self._at_once) if len(of_groups) else ()

    def _together(self, of_groups: Tensor) -> Sequence[Tensor]:
        """What one thread processes."""
        return torch.split(of_groups, _PARTS_OF_A_THREAD * self._at_once) if len(of_groups) else ()

    def _in_order(self, work: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        return in_order(work, items, most=at_once(self._device))

    def _within_reach(self, places: Tensor) -> slice:
        """Rows of the voxels of groups with those first voxels."""
        if places.is_cuda:  # to look at them would mean to wait for the GPU
            return slice(0, self._height)
        first, last = (int(end) // self._width for end in (places.min(), places.max()))
        return slice(max(first - _REACH_PX, 0), min(last + _REACH_PX + CUBE_PX, self._height))

    def _displacements(self, plane: int, row: int) -> Tensor:
        """How far the cubes that a group may have are from its first one, where a slice has ``plane`` places."""
        slices, in_plane = (range(-reach, reach + 1) for reach in (_REACH_SLICES, _REACH_PX))
        return self._flat(slices, in_plane, in_plane, plane, row)

    def _flat(self, slices: range, rows: range, columns: range, plane: int, row: int) -> Tensor:
        """Numbers of voxels at all of these places, where a slice has ``plane`` of them and a row has ``row``."""
        axes = [torch.arange(axis.start, axis.stop, device=self._device) for axis in (slices, rows, columns)]
        return (axes[0][:, None, None] * plane + axes[1][:, None] * row + axes[2]).ravel()


class GroupStore:
    """Keeps groups of a volume, which together are as large as the volume; on the CPU they may be in a file.

    Parameters
    ----------
    firsts : int
        Slices in which reference cubes start.
    most : int
        Reference cubes in one of them, at most.
    size : int
        Cubes in a group.
    device : torch.device, optional
    """

    def __init__(self, firsts: int, most: int, size: int, device: torch.device | None) -> None:
        self._kept: list[Group] = []
        self._space: tuple[Tensor, Tensor] | None = None
        if device is None or device.type == "cpu":
            self._space = (
                torch.from_numpy(new_volume((firsts, most), np.int64)),
                torch.from_numpy(new_volume((firsts, most, size), np.int16)),
            )

    def __iter__(self) -> Iterator[Group]:
        return iter(self._kept)

    def keep(self, group: Group) -> None:
        """Keep groups of the next slice in which reference cubes start."""
        if self._space is not None:
            places, members = (of_all[len(self._kept), : len(group.places)] for of_all in self._space)
            group = Group(group.first_slice, places.copy_(group.places), members.copy_(group.members))
        self._kept.append(group)


class _Window:
    """The slices within reach of groups, and the sums of their estimates; voxels in one row."""

    def __init__(self, pixels: int, device: torch.device | None) -> None:
        self._pixels = pixels
        self.first = 0
        self.noisy, self.guide = (torch.zeros(0, device=device) for _ in range(2))
        self.estimates = Aggregate(0, device)

    def load(self, end: int, both: Callable[[slice], tuple[Tensor, Tensor]]) -> None:
        """Load the slices up to one."""
        begin = self.first + len(self.noisy) // self._pixels
        if end <= begin:
            return
        noisy, guide = both(slice(begin, end))
        self.noisy, self.guide = torch.cat([self.noisy, noisy]), torch.cat([self.guide, guide])
        self.estimates.extend(len(noisy))

    def finish(self, end: int) -> list[tuple[int, Tensor]]:
        """Return the slices before one."""
        count = end - self.first
        if count <= 0:
            return []
        done = count * self._pixels
        filtered = self.estimates.mean(slice(done), self.guide[:done])
        self.noisy, self.guide = (values[done:].clone() for values in (self.noisy, self.guide))
        self.estimates.drop(done)
        first, self.first = self.first, end
        return [(first + index, slice_) for index, slice_ in enumerate(torch.split(filtered, self._pixels))]
