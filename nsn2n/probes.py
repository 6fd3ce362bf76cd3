# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Faint discs inserted into a part of the series itself, to measure the contrast retention of a faint lesion.

The part is denoised like the volume twice, with and without the discs. The difference of the two results is what is
left of them, so that neither the anatomy nor the noise has to be known.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n._aliases import Array, BoolArray, Float32Array, Spacing
from nsn2n.arrays.either import copied, in_memory_of, namespace, on_host
from nsn2n.arrays.planes import gaussian, maximum
from nsn2n.contrast_kept import CONTRASTS_SD, DIAMETERS_MM, ContrastKept, KeptCell
from nsn2n.noise.level import NoiseMap

__all__ = ["Probes", "place_probes"]

_OF_THE_MAP = (5.0, 1.0)
"""Diameter and contrast of the disc in the map."""

_MOST_SLICES = 5
"""Slices of a disc: those farther away no longer affect its middle."""
_BESIDE = 2
"""Slices on either side of the discs, as context for the filters."""
_SHARE = 0.15
"""Fraction of the volume that is denoised again, twice, so that it takes a small part of the run time,"""
_LEAST_EDGE_PX = 160
"""unless its edge would be shorter than this."""
_VISIBLE = 5.0
"""Contrast in noise sd, times the root of the voxels, of a visible disc (Rose, J Opt Soc Am 38 (1948) 196-208),"""
_LEAST_DIAMETER_PX = 3.0
"""unless it is so small that its contrast is a matter of resolution."""
_MOST_OF_A_KIND = 16
_FEWEST_OF_A_MAP = 9
_RIM_PX, _RING_PX = 2.0, 5.0
"""The surroundings of a disc, in pixels beyond its rim."""
_APART_PX = 12.0
"""From rim to rim: similar structures support each other, and a lesion is mostly isolated."""
_DETAIL_PX, _STRONG_SD, _AWAY_PX = 6.0, 8.0, 3
"""Detail beyond the Gaussian mean of that sd of so many noise sd is a strong edge; no disc lies so near to one."""
_ABOVE_AIR_SD = 3.0


@dataclass(frozen=True, slots=True)
class _Kind:
    """Discs of one size and contrast."""

    diameter_mm: float
    contrast_sd: float
    radius_px: tuple[float, float]
    """In rows and columns."""
    slices: int

    @property
    def visible(self) -> bool:
        """As :attr:`nsn2n.contrast_kept.KeptCell.visible`: by the detectability in white noise."""
        detectability = self.contrast_sd * math.sqrt(math.pi * math.prod(self.radius_px) * self.slices)
        return detectability >= _VISIBLE and 2 * min(self.radius_px) >= _LEAST_DIAMETER_PX


@dataclass(frozen=True, slots=True)
class _Disc:
    """Its position is relative to the part of the volume."""

    kind: _Kind
    row: int
    column: int
    slices: slice
    change: float
    """In the unit of the volume, negative for a dark one."""


@dataclass(frozen=True, slots=True)
class Probes:
    """Discs in a part of a volume."""

    place: tuple[slice, slice, slice]
    """The part of the volume, of shape (d, h, w), that is denoised again."""
    shape_hw: tuple[int, int]
    """Of the slices of the volume."""
    discs: tuple[_Disc, ...]

    def put_into(self, part_dhw: Array) -> Array:
        """Return a copy of the part with the discs, shape (d, h, w)."""
        probed = copied(part_dhw)
        for disc in self.discs:
            shape, place, _, _ = self._parts(disc)
            probed[disc.slices][:, place[0], place[1]] += in_memory_of(np.float32(disc.change) * shape, probed)
        return probed

    def measured(self, difference_dhw: Array) -> ContrastKept | None:
        """Return the contrast retention of the discs.

        Parameters
        ----------
        difference_dhw : array, shape (d, h, w)
            Difference of the denoised part with and without discs.

        Returns
        -------
        ContrastKept or None
            Cells without a disc are left out; None where there is none at all.
        """
        difference_dhw = on_host(difference_dhw)
        kept: dict[_Kind, list[tuple[_Disc, float]]] = {}
        for disc in self.discs:
            shape, place, inner, ring = self._parts(disc)
            left_hw = difference_dhw[disc.slices][:, place[0], place[1]].mean(axis=0, dtype=np.float64)
            put_in = float(shape[inner].mean() - shape[ring].mean()) * disc.change
            left = float(left_hw[inner].mean() - left_hw[ring].mean()) / put_in
            kept.setdefault(disc.kind, []).append((disc, left))
        if not kept:
            return None
        means = {kind: float(np.mean([left for _, left in found])) for kind, found in kept.items()}
        cells = [
            KeptCell(kind.diameter_mm, kind.contrast_sd, means[kind], len(found), kind.visible)
            for kind, found in kept.items()
        ]
        cells.sort(key=lambda cell: (cell.diameter_mm, cell.contrast_sd))
        if len(self.discs) < _FEWEST_OF_A_MAP:
            return ContrastKept(tuple(cells), ())
        slices, rows, columns = self.place
        map_hw = np.full(self.shape_hw, np.nan, np.float32)
        map_hw[rows, columns] = _map((rows.stop - rows.start, columns.stop - columns.start), kept, means)
        return ContrastKept(tuple(cells), (((slices.start + slices.stop) // 2, map_hw),))

    def _parts(self, disc: _Disc) -> tuple[Float32Array, tuple[slice, slice], BoolArray, BoolArray]:
        """A disc from 0 to 1, shape (h, w), its place in the plane, its inner part and its surroundings."""
        radius_px = disc.kind.radius_px
        reach = [math.ceil(radius + _RING_PX) for radius in radius_px]
        place = (
            slice(disc.row - reach[0], disc.row + reach[0] + 1),
            slice(disc.column - reach[1], disc.column + reach[1] + 1),
        )
        rows, columns = np.mgrid[-reach[0] : reach[0] + 1, -reach[1] : reach[1] + 1]
        mean_px = math.sqrt(math.prod(radius_px))
        # The distance from the rim in pixels, also for an ellipse, which a round disc is on non-square pixels.
        beyond = (np.hypot(rows / radius_px[0], columns / radius_px[1]) - 1) * mean_px
        shape = np.clip(0.5 - beyond, 0, 1).astype(np.float32)
        return shape, place, shape >= shape.max(), (beyond >= _RIM_PX) & (beyond < _RING_PX)


def _map(
    shape_hw: tuple[int, int],
    kept: dict[_Kind, list[tuple[_Disc, float]]],
    means: dict[_Kind, float],
) -> Float32Array:
    """Each disc shows how much more or less is retained at its position than for others of its kind."""
    weighted, weights = np.zeros((2, *shape_hw), np.float64)
    for kind, found in kept.items():
        if means[kind] <= 0:
            continue
        weight = (kind.diameter_mm * kind.contrast_sd) ** 2  # that of its variance, as noise sees it
        for disc, left in found:
            weighted[disc.row, disc.column] += weight * left / means[kind]
            weights[disc.row, disc.column] += weight
    known = np.argwhere(weights > 0)
    if not len(known):
        return np.full(shape_hw, np.nan, np.float32)
    spread_px = max(math.sqrt(np.ptp(known, axis=0).prod() / len(known)), _APART_PX)
    around = ndimage.gaussian_filter(weights, spread_px, mode="constant")
    value = ndimage.gaussian_filter(weighted, spread_px, mode="constant")
    near = ndimage.distance_transform_edt(weights == 0) <= 2 * spread_px
    of_the_map = [mean for kind, mean in means.items() if (kind.diameter_mm, kind.contrast_sd) == _OF_THE_MAP]
    base = of_the_map[0] if of_the_map else float(np.median(list(means.values())))
    ratio = np.divide(value, around, out=np.full(shape_hw, np.nan), where=near & (around > 0))
    return np.asarray(base * ratio, dtype=np.float32)


def place_probes(
    denoised: Array,
    noise: NoiseMap,
    valid: Array | None,
    spacing_mm: Spacing,
    *,
    air: float | None,
    seed: int,
) -> Probes:
    """Choose a part of a volume, and places of discs in it: in tissue, away from strong edges and from each other.

    Parameters
    ----------
    denoised : array, shape (D, H, W)
        The denoised volume, which shows where edges and tissue are.
    noise : NoiseMap
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    spacing_mm : tuple of 3 floats
        (slice, row, column) spacing.
    air : float, optional
        The value of air, where there are no lesions.
    seed : int

    Returns
    -------
    Probes
        At most 17 of each size and contrast, bright and dark ones; none if there is no space.
    """
    depth = len(denoised)
    count = min(depth, _slices_of(max(DIAMETERS_MM), spacing_mm) + 2 * _BESIDE)
    slices = slice((depth - count) // 2, (depth - count) // 2 + count)
    usable_hw = on_host(_tissue_without_edges(denoised, noise, slices, valid, air))
    rows, columns = _square(usable_hw, _SHARE * math.prod(denoised.shape) / count)
    usable = usable_hw[rows, columns]
    height, width = usable.shape
    border = np.minimum.outer(*(np.minimum(np.arange(size), np.arange(size)[::-1]) for size in (height, width)))
    kinds = _kinds(spacing_mm, count)
    # Room beyond what the largest disc needs makes no difference, so a new disc affects only its surroundings.
    most = max(max(kind.radius_px) for kind in kinds) + _RING_PX + 2
    rooms = np.minimum(np.minimum(ndimage.distance_transform_edt(usable), border), most).astype(np.float32)
    random = np.random.default_rng(seed)
    discs: list[_Disc] = []
    for kind in _in_turn(kinds, random):
        radius_px = max(kind.radius_px)
        free = np.flatnonzero(rooms > radius_px + _RING_PX + 1)
        if not len(free):
            continue
        row, column = divmod(int(random.choice(free)), width)
        first = (count - kind.slices) // 2
        sd = float(noise.sd[slices.start + count // 2, rows.start + row, columns.start + column])
        change = kind.contrast_sd * sd * random.choice((-1.0, 1.0))
        discs.append(_Disc(kind, row, column, slice(first, first + kind.slices), change))
        apart = radius_px + _APART_PX - _RING_PX
        reach = math.ceil(most + apart)
        top, left = max(row - reach, 0), max(column - reach, 0)
        near = rooms[top : row + reach + 1, left : column + reach + 1]
        distance = np.hypot(
            *np.ogrid[top - row : top - row + near.shape[0], left - column : left - column + near.shape[1]]
        )
        np.minimum(near, np.maximum(distance - apart, 0), out=near)
    place = (slices, rows, columns)
    return Probes(place, usable_hw.shape, tuple(disc for disc in discs if disc.change))


def _square(usable_hw: BoolArray, pixels: float) -> tuple[slice, slice]:
    """Rows and columns of the square of so many pixels, or of the least edge, with most room."""
    edge = max(int(math.sqrt(pixels)), _LEAST_EDGE_PX)
    rows, columns = (
        _window(usable_hw.sum(axis=1 - axis), min(edge, size)) for axis, size in enumerate(usable_hw.shape)
    )
    return rows, columns


def _window(counts: NDArray[np.int_], length: int) -> slice:
    """The window of that length with the largest sum."""
    start = int(np.convolve(counts, np.ones(length), mode="valid").argmax())
    return slice(start, start + length)


def _kinds(spacing_mm: Spacing, most_slices: int) -> list[_Kind]:
    return [
        _Kind(
            diameter_mm,
            contrast_sd,
            (diameter_mm / 2 / spacing_mm[1], diameter_mm / 2 / spacing_mm[2]),
            min(_slices_of(diameter_mm, spacing_mm), most_slices),
        )
        for contrast_sd in CONTRASTS_SD
        for diameter_mm in DIAMETERS_MM
    ]


def _in_turn(kinds: list[_Kind], random: np.random.Generator) -> Iterator[_Kind]:
    """Return the kinds in turn, so that each gets as many places; limited space goes to the most important ones."""
    yield from (kind for kind in kinds if kind.visible)
    for _ in range(_MOST_OF_A_KIND):
        for index in random.permutation(len(kinds)):
            yield kinds[index]


def _slices_of(diameter_mm: float, spacing_mm: Spacing) -> int:
    return min(max(round(diameter_mm / spacing_mm[0]), 1), _MOST_SLICES)


def _tissue_without_edges(
    denoised: Array, noise: NoiseMap, slices: slice, valid: Array | None, air: float | None
) -> Array:
    """Return pixels with tissue and no strong edge in all of the slices, shape (H, W)."""
    xp = namespace(denoised)
    usable = xp.ones_like(denoised[0], dtype=xp.bool)
    for index in range(slices.start, slices.stop):
        plane_hw = denoised[index]
        sd = noise.floored(index)
        mean_hw = gaussian(plane_hw, _DETAIL_PX)
        strong = abs(plane_hw - mean_hw) > _STRONG_SD * sd
        usable &= ~maximum(strong, 2 * _AWAY_PX + 1)
        if air is not None:
            usable &= mean_hw > air + _ABOVE_AIR_SD * sd
        if valid is not None:
            usable &= valid[index]
    return usable
