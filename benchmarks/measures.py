# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks measure, as functions of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


def psnr(volume_dhw: Volume, truth_dhw: Volume, where: Mask | None = None, data_range: float = 1.0) -> float:
    """Peak signal-to-noise ratio in dB, over all voxels or those of a mask."""
    squared = np.square(volume_dhw.astype(np.float64) - truth_dhw)
    return float(10 * np.log10(data_range**2 / squared[where if where is not None else ...].mean()))


@dataclass(frozen=True)
class Spot:
    """A disc of one slice: its slice, its pixels, and +1 (bright) or -1 (dark)."""

    z: int
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    sign: int


def disc(diameter_px: int) -> NDArray[np.int64]:
    """Pixel offsets (row, column) of a disc; 3 px has 9 pixels, 5 px has 21."""
    reach = diameter_px // 2
    offsets = np.mgrid[-reach : reach + 1, -reach : reach + 1].reshape(2, -1).T
    return np.asarray(offsets[np.square(offsets).sum(axis=1) <= (diameter_px / 2) ** 2])


def place_spots(tissue_dhw: Mask, diameter_px: int, count: int = 60, seed: int = 1) -> list[Spot]:
    """Choose places for spots in tissue, apart from each other and from the borders, bright and dark in turn."""
    random = np.random.default_rng(seed)
    inside = ndimage.binary_erosion(tissue_dhw, np.ones((1, 7, 7)))
    inside[:2] = inside[-2:] = False
    inside[:, :8] = inside[:, -8:] = False
    inside[:, :, :8] = inside[:, :, -8:] = False
    places = random.permutation(np.argwhere(inside))
    spots: list[Spot] = []
    taken: list[NDArray[np.int64]] = []
    for place in places:
        near = (abs(place[0] - other[0]) < 3 and np.abs(place[1:] - other[1:]).max() < 14 for other in taken)
        if any(near):
            continue
        taken.append(place)
        pixels = disc(diameter_px) + place[1:]
        spots.append(Spot(int(place[0]), pixels[:, 0], pixels[:, 1], 1 if len(spots) % 2 else -1))
        if len(spots) == count:
            return spots
    raise ValueError(f"room for {count} spots is needed; found room for {len(spots)}")


def add_spots(volume_dhw: Volume, spots: list[Spot], contrast: float) -> Volume:
    """Return the volume with the spots added."""
    result = volume_dhw.copy()
    for spot in spots:
        result[spot.z, spot.rows, spot.columns] += spot.sign * contrast
    return result


def contrast_kept(with_spots_dhw: Volume, without_dhw: Volume, spots: list[Spot], contrast: float) -> float:
    """Mean contrast of the spots in the difference of two outputs, as a fraction of what was added."""
    difference = with_spots_dhw - without_dhw
    kept = [spot.sign * difference[spot.z, spot.rows, spot.columns].mean() / contrast for spot in spots]
    return float(np.mean(kept))


@dataclass(frozen=True)
class Rods:
    """The plastic rods of the CT phantom."""

    interiors: list[tuple[int, Mask]]
    """(slice, mask (H, W)): the inside of one rod in one slice, 12 pixels from its edge."""
    rims: list[tuple[int, NDArray[np.float64]]]
    """(slice, distance (H, W)) of round rods: signed distance from the rod's edge in pixels."""


def find_rods(smooth_dhw: Volume) -> Rods:
    """Find the rods in the smooth-kernel series of the same scan, HU.

    A rod is plastic (-450 to 400 HU) in air, of 600 to 6000 pixels. Interiors where the smooth series itself varies by
    more than 4 HU hold the end of a rod, not noise, and are left out.
    """
    interiors, rims = [], []
    for z, slice_hw in enumerate(smooth_dhw):
        plastic = ndimage.binary_opening((slice_hw > -450) & (slice_hw < 400), iterations=3)
        labels, count = ndimage.label(plastic)
        for label in range(1, count + 1):
            rod = labels == label
            area = int(rod.sum())
            if not 600 < area < 6000:
                continue
            interior = ndimage.binary_erosion(rod, iterations=12)
            if interior.sum() > 150 and slice_hw[interior].std() < 4:
                interiors.append((z, interior))
            distance = _distance_from_rim(rod, area)
            if distance is not None:
                rims.append((z, distance))
    return Rods(interiors, rims)


def _distance_from_rim(rod: Mask, area: int) -> NDArray[np.float64] | None:
    """Distance from the edge of a round rod; None for a rod that is not round."""
    row, column = ndimage.center_of_mass(rod)
    rows, columns = np.mgrid[: rod.shape[0], : rod.shape[1]]
    from_center = np.hypot(rows - row, columns - column)
    radius = np.sqrt(area / np.pi)
    return from_center - radius if from_center[rod].max() <= 1.08 * radius else None


def rod_noise(volume_dhw: Volume, rods: Rods) -> tuple[float, float]:
    """Return the noise sd (median over rods and slices) and the mean in the rods, HU."""
    deviations = [volume_dhw[z][interior].std() for z, interior in rods.interiors]
    means = [volume_dhw[z][interior].mean() for z, interior in rods.interiors]
    return float(np.median(deviations)), float(np.mean(means))


def edge_steepness(volume_dhw: Volume, rods: Rods, bin_px: float = 0.5, reach_px: float = 5.0) -> float:
    """Steepest step of the mean profile across the rods' edges, HU per bin, averaged over rods and slices."""
    edges = np.arange(-reach_px, reach_px + bin_px, bin_px)
    profiles = []
    for z, distance in rods.rims:
        near = np.abs(distance) < reach_px
        index = np.digitize(distance[near], edges) - 1
        sums = np.bincount(index, volume_dhw[z][near], minlength=len(edges) - 1)
        profiles.append(sums / np.maximum(np.bincount(index, minlength=len(edges) - 1), 1))
    return float(np.abs(np.diff(np.mean(profiles, axis=0))).max())
