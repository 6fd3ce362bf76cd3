# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic chest and abdomen: organs with texture and gradients, fat planes, vessels that branch and taper.

Shapes, textures and vessels come from random fields of one seed, so the same seed gives the same body. The body
consists of cubic voxels of 1.25 mm, averaged to thick slices; structures oblique to a slice are blurred there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from vessels import draw_tree

__all__ = ["HU_RANGE", "SPACING_MM", "Body", "make_abdomen", "make_chest"]

Volume = NDArray[np.float32]
Vector = tuple[float, float, float]

VOXEL_MM, VOXELS_IN_SLICE, SIZE_PX = 1.25, 4, 256
SPACING_MM = (VOXEL_MM * VOXELS_IN_SLICE, VOXEL_MM, VOXEL_MM)
HU_RANGE = (-1024.0, 1500.0)
POINT_SPREAD_PX = 0.6

AIR, LUNG, FAT, WATER, MUSCLE, BLOOD, LIVER, SPLEEN = -1000.0, -860.0, -105.0, 5.0, 55.0, 45.0, 62.0, 78.0
CORTEX, MEDULLA, PORTAL, AORTA, MARROW, BONE, GROUND_GLASS = 110.0, 70.0, 135.0, 160.0, 180.0, 700.0, -640.0


class Body(NamedTuple):
    """A synthetic body; arrays have the shape (D, H, W)."""

    truth: Volume
    """In HU."""
    inside: NDArray[np.bool_]
    """Mask of the organs: in the abdomen everything within the muscles, in the chest the lungs."""


class _Canvas:
    """Voxels onto which structures are painted one after another."""

    def __init__(self, slices: int, seed: int) -> None:
        self.shape = (slices * VOXELS_IN_SLICE, SIZE_PX, SIZE_PX)
        self.random = np.random.default_rng(seed)
        self.hu = np.full(self.shape, AIR, np.float32)
        self.zyx = np.ogrid[tuple(slice(0, size) for size in self.shape)]

    def field(self, sd_px: float) -> Volume:
        """Return a random field of sd 1 and mean 0, smoothed over `sd_px` voxels."""
        step = max(int(sd_px / 2), 1)
        coarse = [-(-size // step) + 1 for size in self.shape]
        white = self.random.standard_normal(coarse, dtype=np.float32)
        smooth = ndimage.gaussian_filter(white, sd_px / step, mode="wrap", truncate=3)
        if step > 1:
            smooth = ndimage.zoom(smooth, step, order=1)
        smooth = smooth[tuple(slice(0, size) for size in self.shape)]
        return np.asarray((smooth - smooth.mean()) / smooth.std(), dtype=np.float32)

    def blob(self, center: Vector, semi: Vector, uneven: Volume | float = 0.0) -> Volume:
        """Return the fraction of each voxel within an ellipsoid whose radius varies by the fractions `uneven`."""
        squares = (((axis - at) / length) ** 2 for axis, at, length in zip(self.zyx, center, semi, strict=True))
        radius = np.sqrt(sum(squares, np.zeros((1, 1, 1))))
        return np.asarray(np.clip((1 + uneven - radius) * min(semi[1:]) + 0.5, 0, 1), dtype=np.float32)

    def paint(self, part: Volume, hu: Volume | float) -> None:
        self.hu += part * (hu - self.hu)

    def finished(self, inside: NDArray[np.bool_], streaks_at_row: float, streaks_hu: float) -> Body:
        """Average to thick slices, and add scanner effects: blur, cupping, streaks between bones."""
        slices = (-1, VOXELS_IN_SLICE, SIZE_PX, SIZE_PX)
        truth = ndimage.gaussian_filter(self.hu.reshape(slices).mean(axis=1), (0, POINT_SPREAD_PX, POINT_SPREAD_PX))
        rows, columns = np.mgrid[-1 : 1 : SIZE_PX * 1j, -1 : 1 : SIZE_PX * 1j]
        lines = ndimage.gaussian_filter(self.random.standard_normal((len(truth), SIZE_PX)), (0, 1.2))
        lines *= np.exp(-np.square((np.arange(SIZE_PX) - streaks_at_row) / 22)) * streaks_hu / lines.std()
        solid = np.clip((truth + 300) / 200, 0, 1)
        truth += solid * (4 * (rows**2 + columns**2) + lines[:, :, None] * np.exp(-((columns / 0.6) ** 4)))
        kept = inside.reshape(slices).all(axis=1)
        return Body(np.clip(truth, *HU_RANGE).astype(np.float32), ndimage.binary_erosion(kept, np.ones((1, 5, 5))))


def _trunk(canvas: _Canvas, wobble: Volume) -> NDArray[np.bool_]:
    """Paint skin, fat with septa, muscles with fat planes and the spine; return the region within the muscles."""
    middle = canvas.shape[0] / 2
    septa = np.abs(canvas.field(4)) < 0.06
    canvas.paint(canvas.blob((middle, 128, 128), (1e6, 92, 118), 0.02 * wobble), MUSCLE)
    canvas.paint(
        canvas.blob((middle, 128, 128), (1e6, 90, 116), 0.02 * wobble), FAT + 4 * canvas.field(1.5) + 50 * septa
    )
    planes = np.exp(-np.square(canvas.field(7) / 0.12))
    canvas.paint(
        canvas.blob((middle, 130, 128), (1e6, 80, 105), 0.02 * wobble),
        MUSCLE + 5 * canvas.field(1.2) + planes * (FAT - MUSCLE) * 0.8,
    )
    return canvas.blob((middle, 126, 128), (1e6, 70, 94), 0.02 * wobble) > 0.5


def _spine(canvas: _Canvas) -> None:
    trabeculae = canvas.field(0.9)
    for center, semi in (((168.0, 128.0), (17.0, 21.0)), ((192.0, 128.0), (14.0, 8.0))):
        canvas.paint(canvas.blob((0, *center), (1e6, *semi)), BONE)
        canvas.paint(canvas.blob((0, *center), (1e6, semi[0] - 2, semi[1] - 2)), MARROW + 60 * trabeculae)
    canvas.paint(canvas.blob((0, 187, 128), (1e6, 6, 7)), WATER + 20)


def _ribs(canvas: _Canvas, wobble: Volume) -> None:
    """Paint arcs that descend to the front, one every 25 mm."""
    ring = canvas.blob((0, 128, 128), (1e6, 80, 105), 0.02 * wobble) - canvas.blob(
        (0, 128, 128), (1e6, 73, 98), 0.02 * wobble
    )
    z, y, x = canvas.zyx
    turn = np.abs(np.arctan2(x - 128, y - 128))  # 0 at the back
    arcs = np.clip(3 * np.cos((z - 9 * turn) * 2 * np.pi / 20) - 1.2, 0, 1)
    canvas.paint(np.asarray(ring * arcs, dtype=np.float32), MARROW + 250 + 80 * canvas.field(1))


def _lesions(canvas: _Canvas, center: Vector, semi: Vector, kinds: Sequence[tuple[float, float]]) -> None:
    """Paint balls of (radius, HU) at random places in an ellipsoid."""
    for radius, hu in kinds:
        at = [middle + half * canvas.random.uniform(-0.55, 0.55) for middle, half in zip(center, semi, strict=True)]
        canvas.paint(canvas.blob((at[0], at[1], at[2]), (radius, radius, radius), 0.0), hu)


def make_abdomen(slices: int = 12, seed: int = 1) -> Body:
    """Make liver, spleen, kidneys, bowel and great vessels in the portal phase; window 350 HU wide at 40."""
    canvas = _Canvas(slices, seed)
    middle, wobble, rough = canvas.shape[0] / 2, canvas.field(24), canvas.field(9)
    inside = _trunk(canvas, wobble)
    _ribs(canvas, wobble)
    canvas.paint(inside.astype(np.float32), FAT + 5 * canvas.field(1.5) + 30 * (np.abs(canvas.field(3)) < 0.05))
    slope = np.asarray((canvas.zyx[2] - 90) * 0.08, dtype=np.float32)
    fine, coarse = canvas.field(0.8), canvas.field(2.5)
    liver = ((middle, 112.0, 84.0), (max(middle * 2, 60.0), 54.0, 50.0))
    occupied = canvas.blob(*liver, 0.08 * rough + 0.06 * wobble) * inside
    canvas.paint(occupied, LIVER + 3 * fine + 4 * coarse + slope)
    _lesions(canvas, *liver, [(3, 40), (4, 45), (5, 48), (6, 50), (4, 15), (8, 52)])
    for start, toward in (
        ((middle, 116.0, 124.0), (0.1, 0.0, -1.0)),
        ((middle * 0.4, 128.0, 118.0), (0.2, -0.5, -1.0)),
    ):
        canvas.paint(draw_tree(canvas.shape, start, toward, 4.0, canvas.random) * (occupied > 0), PORTAL)
    canvas.paint(
        canvas.blob((middle, 128, 192), (max(middle * 1.6, 40), 34, 24), 0.06 * rough) * inside,
        SPLEEN + 3 * fine + 3 * coarse,
    )
    for column in (88.0, 168.0):
        canvas.paint(canvas.blob((middle, 165, column), (middle * 1.8, 19, 15), 0.05 * rough), CORTEX + 4 * fine)
        canvas.paint(canvas.blob((middle, 165, column), (middle * 1.6, 13, 9), 0.15 * rough), MEDULLA + 6 * coarse)
        canvas.paint(canvas.blob((middle, 165, column), (middle * 1.2, 6, 4), 0.2 * rough), FAT + 10 * fine)
    for _ in range(9):
        at = (middle * canvas.random.uniform(0, 2), canvas.random.uniform(72, 128), canvas.random.uniform(128, 172))
        semi = (canvas.random.uniform(8, 25), canvas.random.uniform(7, 13), canvas.random.uniform(8, 14))
        content = canvas.random.choice([WATER + 10, WATER + 30, AIR + 100])
        canvas.paint(canvas.blob(at, semi, 0.08 * rough) * inside, BLOOD + 4 * fine)
        thinner = (semi[0] - 2, semi[1] - 2, semi[2] - 2)
        canvas.paint(canvas.blob(at, thinner, 0.08 * rough) * inside, content + 12 * coarse)
    _spine(canvas)
    canvas.paint(canvas.blob((0, 143, 133), (1e6, 9, 9)), AORTA)
    canvas.paint(canvas.blob((0, 142, 108), (1e6, 8, 10)), PORTAL - 20)
    canvas.paint(draw_tree(canvas.shape, (middle, 136.0, 136.0), (0.3, -1.0, 0.4), 3.2, canvas.random), PORTAL)
    return canvas.finished(inside, 168, 5.0)


def make_chest(slices: int = 12, seed: int = 1) -> Body:
    """Make lungs with vessels, bronchi, fissures and nodules; heart and mediastinum; window 1500 HU wide at -500."""
    canvas = _Canvas(slices, seed)
    middle, wobble, rough = canvas.shape[0] / 2, canvas.field(24), canvas.field(9)
    inside = _trunk(canvas, wobble)
    _ribs(canvas, wobble)
    canvas.paint(inside.astype(np.float32), FAT + 10 * canvas.field(2))
    lungs = np.zeros(canvas.shape, np.float32)
    slope = np.asarray((canvas.zyx[1] - 128) * 0.6, dtype=np.float32)  # dependent lung is densest
    texture = LUNG + 18 * canvas.field(0.9) + 22 * canvas.field(3) + slope
    sides = (78.0, 1.0), (180.0, -1.0)
    for column, _ in sides:
        lung = canvas.blob((middle, 126, column), (1e6, 64, 42), 0.03 * rough) * inside
        canvas.paint(lung, texture)
        lungs = np.maximum(lungs, lung)
    heart = canvas.blob((middle * 1.4, 108, 142), (max(middle * 1.6, 50), 42, 40), 0.03 * wobble)
    canvas.paint(heart, FAT)
    canvas.paint(
        canvas.blob((middle * 1.4, 108, 142), (max(middle * 1.5, 48), 39, 37), 0.05 * rough), BLOOD + 3 * wobble
    )
    lungs *= 1 - heart
    z, y, x = canvas.zyx
    fissure = np.exp(-np.square((y - 140 - 0.35 * np.abs(x - 128) + 0.4 * (z - middle) + 2 * wobble) / 0.7))
    canvas.paint(np.asarray(fissure * lungs, dtype=np.float32), -700)
    for column, side in sides:
        for row, lean in ((112.0, -0.6), (126.0, 0.1), (138.0, 0.8)):
            start = (middle + canvas.random.uniform(-6, 6), row, 128 - 22 * side)
            toward = (canvas.random.uniform(-0.3, 0.3), lean, -side)
            walls = draw_tree(canvas.shape, (start[0], row + 5, start[2]), toward, 3.6, canvas.random, least_px=1.2)
            lumen = draw_tree(canvas.shape, start, toward, 4.2, canvas.random)
            canvas.paint(lumen * lungs, BLOOD - 5)
            canvas.paint(walls * lungs, -80)
            canvas.paint(ndimage.grey_erosion(walls, 3) * lungs, AIR + 40)
        _lesions(
            canvas, (middle, 126, column), (middle, 50, 30), [(2, 20), (3, 20), (4, GROUND_GLASS), (6, GROUND_GLASS)]
        )
    _spine(canvas)
    aorta = canvas.blob((0, 150, 150), (1e6, 11, 11))
    canvas.paint(aorta, BLOOD)
    lungs *= 1 - np.maximum(aorta, canvas.blob((0, 175, 128), (1e6, 30, 22)))
    canvas.paint(canvas.blob((0, 130, 126), (1e6, 8, 9)), AIR + 20)
    return canvas.finished(lungs > 0.9, 168, 6.0)
