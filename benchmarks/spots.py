# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Small spots of known contrast, added to a volume to measure how much of their contrast a method keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["KINDS", "Kind", "Spot", "add_spots", "contrast_kept", "disc", "place_spots"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

APART_PX = 10
"""Minimum in-plane distance of two spots' centers, along rows or columns, unless they are far apart in z."""
APART_SLICES = 5
"""From this distance on, spots may lie above each other: at least 2 slices stay free between two of 3 slices."""
BORDER_PX = 8
REACH_PX = 3
"""Minimum distance of a spot's center from the border of the tissue."""
CANDIDATES = 50_000
"""Maximum number of places to try."""
MOST_OF_A_KIND = 30
FEWEST_OF_A_KIND = 3


class Kind(NamedTuple):
    """A kind of spot."""

    diameter_px: int
    noise_sds: int
    """Contrast in units of the noise's standard deviation at the place of the spot."""
    slices: int
    """Depth: 1 or 3."""


KINDS = tuple(Kind(px, sds, slices) for slices in (1, 3) for sds in (3, 5) for px in (2, 3, 5))


@dataclass(frozen=True)
class Spot:
    """A disc, in one slice or in several."""

    kind: Kind
    slices: slice
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    contrast: float
    """In the unit of the volume; negative: a dark spot."""

    def of(self, volume_dhw: Volume) -> Volume:
        """Return a volume's voxels in the spot, shape (slices, pixels)."""
        voxels: Volume = volume_dhw[self.slices, self.rows, self.columns]
        return voxels


def disc(diameter_px: int) -> NDArray[np.int64]:
    """Return the pixel offsets (row, column) of a disc; 2 px has 4 pixels, 3 px has 9, 5 px has 21."""
    steps = np.arange(diameter_px) - (diameter_px - 1) / 2
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)
    within = offsets[np.square(offsets).sum(axis=1) <= (diameter_px / 2) ** 2]
    return np.asarray(np.floor(within), dtype=np.int64)


def place_spots(
    tissue_dhw: Mask,
    noise_sd_dhw: Volume,
    *,
    slices: slice = slice(None),
    floor_dhw: Volume | None = None,
    kinds: Iterable[Kind] = KINDS,
    seed: int = 1,
) -> list[Spot]:
    """Choose places for spots of all kinds, the same number of each, apart from each other and from borders.

    Parameters
    ----------
    tissue_dhw : ndarray, shape (D, H, W), bool
        Where spots may be placed.
    noise_sd_dhw : ndarray, shape (D, H, W)
        Unit of the contrast.
    slices : slice
        Spots lie entirely in these slices, two or more away from the first and the last of the volume.
    floor_dhw : ndarray, shape (D, H, W), optional
        Limit on what a dark spot may subtract; where that is too little, the spot is bright. None: no limit.
    kinds : iterable of Kind
    seed : int
        Seed of the places; the same for all methods.

    Returns
    -------
    list of Spot
        Alternately bright and dark. Empty if there is no room for 3 of each kind.
    """
    kinds = tuple(kinds)
    inside = ndimage.binary_erosion(tissue_dhw, np.ones((1, 2 * REACH_PX + 1, 2 * REACH_PX + 1)))
    allowed = np.zeros_like(inside)
    allowed[slices, BORDER_PX:-BORDER_PX, BORDER_PX:-BORDER_PX] = True
    allowed[:2] = allowed[-2:] = False
    inside &= allowed
    deep = inside & _neighbors_too(inside)
    random = np.random.default_rng(seed)
    spots: list[Spot] = []
    taken = np.empty((0, 3), np.int64)
    for place in random.permutation(np.argwhere(inside))[:CANDIDATES]:
        kind = kinds[len(spots) % len(kinds)]
        if kind.slices > 1 and not deep[tuple(place)]:
            continue
        distance = np.abs(taken - place)
        if np.any((distance[:, 0] < APART_SLICES) & (distance[:, 1:].max(axis=1, initial=0) < APART_PX)):
            continue
        taken = np.vstack([taken, place])
        bright = (len(spots) // len(kinds)) % 2 == 0
        spots.append(_spot(kind, place, noise_sd_dhw, bright, floor_dhw))
        if len(spots) == MOST_OF_A_KIND * len(kinds):
            break
    of_each = len(spots) // len(kinds)
    return spots[: of_each * len(kinds)] if of_each >= FEWEST_OF_A_KIND else []


def _neighbors_too(inside_dhw: Mask) -> Mask:
    """Return voxels whose neighbors in the next and in the previous slice are also inside."""
    both = np.zeros_like(inside_dhw)
    both[1:-1] = inside_dhw[2:] & inside_dhw[:-2]
    return both


def _spot(kind: Kind, place: NDArray[np.int64], noise_sd_dhw: Volume, bright: bool, floor_dhw: Volume | None) -> Spot:
    pixels = disc(kind.diameter_px) + place[1:]
    half = kind.slices // 2
    contrast = kind.noise_sds * float(noise_sd_dhw[tuple(place)])
    spot = Spot(kind, slice(int(place[0]) - half, int(place[0]) + half + 1), pixels[:, 0], pixels[:, 1], contrast)
    if not bright and (floor_dhw is None or spot.of(floor_dhw).min() >= contrast):
        return replace(spot, contrast=-contrast)
    return spot


def add_spots(volume_dhw: Volume, spots: Iterable[Spot]) -> Volume:
    """Return the volume with the spots added."""
    result = volume_dhw.copy()
    for spot in spots:
        result[spot.slices, spot.rows, spot.columns] += spot.contrast
    return result


def contrast_kept(with_spots_dhw: Volume, without_dhw: Volume, spots: Iterable[Spot]) -> dict[Kind, float]:
    """Return the mean contrast of each kind of spot in the difference of two outputs, as a fraction of that added."""
    kept: dict[Kind, list[float]] = defaultdict(list)
    for spot, fraction in _fractions(with_spots_dhw, without_dhw, spots):
        kept[spot.kind].append(fraction)
    return {kind: float(np.mean(fractions)) for kind, fractions in kept.items()}


def _fractions(with_spots_dhw: Volume, without_dhw: Volume, spots: Iterable[Spot]) -> Iterator[tuple[Spot, float]]:
    for spot in spots:
        difference = spot.of(with_spots_dhw).astype(np.float64) - spot.of(without_dhw)
        yield spot, float(difference.mean()) / spot.contrast
