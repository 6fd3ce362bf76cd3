# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A trial of anatomy.py: PET of a trunk with lesions of 1 to 4 noise sd, and the same trunk without them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from trial import Trial, View, detail_figures, share

__all__ = ["pet"]

Volume = NDArray[np.float32]

SHAPE_HW, VOXEL_MM, RESOLUTION_PX, GRAIN_PX = (128, 128), 3.5, 1.0, 0.8
BACKGROUND, NOISE = 1.0, 0.25
"""Uptake of soft tissue, SUV, and the sd of its noise, which is proportional to the square root of the uptake."""
ORGANS = {"liver": ((52, 44), (20, 17), 2.2), "spleen": ((54, 92), (11, 8), 1.7), "lungs": ((44, 66), (9, 22), 0.4)}
LESION_SD, LESION_PX = (1, 2, 3, 4), (2.0, 3.0, 4.5)
"""Contrast of the lesions in noise sd, and their radii in pixels; each extends through three slices or more."""
APART_PX = 14


def pet(seed: int, slices: int) -> Trial:
    """Make the trial; lesion contrast retention is measured on the difference of two results with the same noise."""
    random = np.random.default_rng(600 + seed)
    depth = 2 * slices
    rows, columns = np.ogrid[: SHAPE_HW[0], : SHAPE_HW[1]]
    trunk = ((rows - 64) / 42) ** 2 + ((columns - 64) / 56) ** 2 < 1
    uptake = np.repeat(np.where(trunk, BACKGROUND, 0.0)[None], depth, axis=0)
    uneven = ndimage.gaussian_filter(random.standard_normal(uptake.shape), 5)
    uptake *= 1 + 0.15 * uneven / uneven.std()
    for (row, column), (high, wide), value in ORGANS.values():
        uptake[:, ((rows - row) / high) ** 2 + ((columns - column) / wide) ** 2 < 1] *= value
    blur = (RESOLUTION_PX,) * 3
    without = np.maximum(ndimage.gaussian_filter(uptake, blur), 0)
    sd = NOISE * np.sqrt(without)
    lesions, added = [], np.zeros_like(without)
    free = ndimage.binary_erosion(trunk, iterations=8)
    for number in range(len(LESION_SD) * len(LESION_PX)):
        contrast, radius = LESION_SD[number % len(LESION_SD)], LESION_PX[number // len(LESION_SD)]
        row, column = random.permutation(np.argwhere(free))[0]
        z = random.uniform(0.3, 0.7) * depth
        planes = np.arange(depth)[:, None, None]
        ball = np.clip(radius + 0.5 - np.sqrt((planes - z) ** 2 + (rows - row) ** 2 + (columns - column) ** 2), 0, 1)
        lesion = ndimage.gaussian_filter(ball, blur) * contrast * sd[int(z), row, column]
        free &= np.hypot(rows - row, columns - column) > APART_PX
        lesions.append((contrast, np.asarray(lesion, np.float32)))
        added += lesion
    grain = ndimage.gaussian_filter(random.standard_normal(without.shape), (0, GRAIN_PX, GRAIN_PX))
    noise = grain / grain.std() * sd
    truth = tuple(np.asarray(values, np.float32) for values in (without + added, without))
    noisy = tuple(np.maximum(values + noise, 0).astype(np.float32) for values in truth)
    inside = np.broadcast_to(ndimage.binary_erosion(trunk, iterations=3), without.shape)

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        figures = detail_figures(results[0], noisy[0], truth[0], inside)
        difference = results[0] - results[1]
        for contrast in LESION_SD:
            kept = [
                share(difference[lesion > 0.01 * lesion.max()], lesion[lesion > 0.01 * lesion.max()])
                for of, lesion in lesions
                if of == contrast
            ]
            figures[f"kept {contrast} sd"] = 100 * float(np.mean(kept))
        return figures

    view = View((0.0, 4.0), depth // 2)
    return Trial(
        name="pet", noisy=noisy, truth=truth, measure=measure, view=view, spacing_mm=(VOXEL_MM,) * 3, modality="PT"
    )
