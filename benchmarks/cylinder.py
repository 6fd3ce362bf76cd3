# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A cylinder of water in air with CT-like noise, with faint discs, with rods, or empty."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from textured_noise import kernel_noise

__all__ = [
    "CONTRASTS", "DIAMETERS", "RADIUS", "ROD_HU", "Site", "discs", "flat", "from_center", "noise", "rods", "stored",
]  # fmt: skip

Volume = NDArray[np.float32]

SIZE, RADIUS, CENTER, WATER_HU, AIR_HU = 256, 112.0, 127.5, 40.0, -1000.0
DIAMETERS = (4, 6, 10, 15)
CONTRASTS = {10: (3, 5, 10), 20: (5, 10, 20), 35: (10, 20, 30)}
"""Contrasts of the discs in HU for each noise sd in HU."""
PITCH, RIM, BLUR_PX = 26.0, 20.0, 0.6
ROD_HU, ROD_RADIUS, ROD_AT = (30.0, 100.0, 1000.0), 12.0, 55.0
STORED_HU = (-1024, 3071)


class Site(NamedTuple):
    """A site in the cylinder, and the disc in it."""

    row: float
    column: float
    first: int
    """First slice of the site."""
    end: int
    """Last slice of the site, exclusive."""
    diameter: int
    """0: no disc."""
    hu: float


def from_center(row: float = CENTER, column: float = CENTER) -> NDArray[np.float64]:
    """Return the distance of each pixel from a point, shape (H, W)."""
    rows, columns = np.ogrid[:SIZE, :SIZE]
    return np.asarray(np.hypot(rows - row, columns - column))


def flat(slices: int) -> Volume:
    """Return water in air, shape (D, H, W), HU."""
    return _blurred(np.repeat(np.where(from_center() <= RADIUS, WATER_HU, AIR_HU)[None], slices, axis=0))


def discs(slices: int, noise_hu: int, seed: int) -> tuple[Volume, list[Site]]:
    """Return the cylinder with discs of all diameters and contrasts, in half of its sites, and all sites."""
    random = np.random.default_rng(7000 + seed)
    kinds = [(diameter, hu) for diameter in DIAMETERS for hu in CONTRASTS[noise_hu]]
    truth = np.repeat(np.where(from_center() <= RADIUS, WATER_HU, AIR_HU)[None], slices, axis=0)
    steps = PITCH * np.arange(-4, 5)
    grid = [(down, right) for down in steps for right in steps if np.hypot(down, right) < RADIUS - RIM]
    sites = []
    for layer, (first, end) in enumerate(_layers(slices)):
        order = random.permutation(len(grid))
        for count, place in enumerate(order):
            row, column = CENTER + np.array(grid[place]) + random.uniform(-0.5, 0.5, 2)
            holds = count < len(grid) // 2
            diameter, hu = kinds[(count + 7 * seed + 3 * layer) % len(kinds)] if holds else (0, 0.0)
            if holds:
                truth[first:end] += hu * np.clip(diameter / 2 + 0.5 - from_center(row, column), 0, 1)
            sites.append(Site(float(row), float(column), first, end, diameter, hu))
    return _blurred(truth), sites


def rods(slices: int) -> tuple[Volume, dict[float, tuple[float, float]]]:
    """Return the cylinder with rods through all slices, and the center of each rod by its contrast, HU."""
    truth = np.repeat(np.where(from_center() <= RADIUS, WATER_HU, AIR_HU)[None], slices, axis=0)
    centers = {}
    for turn, hu in enumerate(ROD_HU):
        angle = 2 * np.pi * turn / len(ROD_HU)
        row, column = CENTER + ROD_AT * np.cos(angle) + 0.3, CENTER + ROD_AT * np.sin(angle) + 0.2
        truth += hu * np.clip(ROD_RADIUS + 0.5 - from_center(row, column), 0, 1)
        centers[hu] = (float(row), float(column))
    return _blurred(truth), centers


def noise(slices: int, sd_hu: float, seed: int) -> Volume:
    """Return noise of a CT kernel, weaker outside the cylinder."""
    weight = ndimage.gaussian_filter(np.where(from_center() < RADIUS + 3, 1.0, 0.3), 2)
    return np.asarray(kernel_noise((slices, SIZE, SIZE), sd_hu, seed) * weight, dtype=np.float32)


def stored(volume: Volume) -> Volume:
    """Return a volume as a scanner stores it: integer HU with 12 bits."""
    return np.clip(np.rint(volume), *STORED_HU).astype(np.float32)


def _layers(slices: int) -> list[tuple[int, int]]:
    """Return first and last (exclusive) slice of each layer of discs; slices before and after stay empty."""
    if slices < 20:
        return [(2, slices - 2)]
    return [(1, slices // 2 - 3), (slices // 2 + 2, slices - 2)]


def _blurred(truth: NDArray[np.float64]) -> Volume:
    return np.asarray(ndimage.gaussian_filter(truth, (0, BLUR_PX, BLUR_PX)), dtype=np.float32)
