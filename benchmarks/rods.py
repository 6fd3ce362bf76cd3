# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The plastic rods of the scanned CT phantom: noise and mean inside, steepness of their edges."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["Rods", "edge_steepness", "find_rods", "rod_noise"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Rods:
    """The plastic rods of the CT phantom."""

    interiors: list[tuple[int, Mask]]
    """(slice, mask (H, W)): the inside of one rod in one slice, 12 pixels from its edge."""
    rims: list[tuple[int, NDArray[np.float64]]]
    """(slice, distance (H, W)) of round rods: signed distance from the rod's edge in pixels."""

    def within(self, first: int, end: int) -> Rods:
        """Return the rods in slices ``first`` to ``end``, exclusive."""
        interiors = [(z, interior) for z, interior in self.interiors if first <= z < end]
        return Rods(interiors, [(z, rim) for z, rim in self.rims if first <= z < end])


def find_rods(smooth_dhw: Volume) -> Rods:
    """Find the rods in the smooth-kernel series of the same scan, HU.

    A rod is plastic (-450 to 400 HU) in air, of 600 to 6000 pixels. Interiors where the smooth series itself varies by
    more than 4 HU are left out, since they contain the end of a rod, not only noise.
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
    """Return the distance from the edge of a round rod; None for a rod that is not round."""
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
    """Return the steepest step of the mean profile across the rods' edges, HU per bin, mean over rods and slices."""
    edges = np.arange(-reach_px, reach_px + bin_px, bin_px)
    profiles = []
    for z, distance in rods.rims:
        near = np.abs(distance) < reach_px
        index = np.digitize(distance[near], edges) - 1
        sums = np.bincount(index, volume_dhw[z][near], minlength=len(edges) - 1)
        profiles.append(sums / np.maximum(np.bincount(index, minlength=len(edges) - 1), 1))
    return float(np.abs(np.diff(np.mean(profiles, axis=0))).max())
