# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Volumes with structures that a denoiser must not change: checkerboards, text in one slice, metal."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

__all__ = ["PROBES"]

Volume = NDArray[np.float32]
Probe = tuple[Volume, Volume, float]
"""Noisy volume, truth (0 where nothing must be kept), both in HU, and the noise sd."""

SHAPE_DHW = (16, 160, 160)
NOISE_SD_HU = 20.0
CHECKER_HU = 100.0
TEXT_HU = 100.0
METAL_HU = 3071.0
"""Largest value of 12 bits with an intercept of -1024, which scanners store for metal."""


def checkerboard(seed: int) -> Probe:
    """Make squares of 1, 2, 4 and 8 pixels, one size per quarter of the slices, inverted from slice to slice.

    Neighboring slices differ everywhere, so nothing about the squares can be learned from them.
    """
    slices, rows, columns = np.indices(SHAPE_DHW)
    half = SHAPE_DHW[1] // 2
    edge_px = np.choose(2 * (rows >= half) + (columns >= half), [1, 2, 4, 8])
    light = (rows // edge_px + columns // edge_px + slices) % 2
    return _noisy(CHECKER_HU * (light - 0.5), seed)


def text(seed: int) -> Probe:
    """Make letters in the middle slice only."""
    image = Image.new("L", SHAPE_DHW[:0:-1])
    draw = ImageDraw.Draw(image)
    for row, size_px in ((20, 10), (60, 14), (100, 20)):
        draw.text((16, row), "NS-N2N 0123", fill=1, font=ImageFont.load_default(size_px))
    feature = np.zeros(SHAPE_DHW)
    feature[SHAPE_DHW[0] // 2] = np.asarray(image) * TEXT_HU
    return _noisy(feature, seed)


def metal(seed: int) -> Probe:
    """Make rods of 3, 7 and 15 pixels in diameter, at the largest possible value, in some of the slices."""
    _, rows, columns = np.indices(SHAPE_DHW)
    feature = np.zeros(SHAPE_DHW)
    for (row, column), radius_px, slices in (
        ((40, 40), 1.5, slice(4, 12)), ((40, 110), 3.5, slice(0, 9)), ((110, 80), 7.5, slice(6, 16)),
    ):  # fmt: skip
        feature[slices][np.hypot(rows - row, columns - column)[slices] <= radius_px] = METAL_HU
    return _noisy(feature, seed)


def _noisy(feature: NDArray[np.floating], seed: int) -> Probe:
    noise = np.random.default_rng(seed).normal(0, NOISE_SD_HU, SHAPE_DHW)
    truth = feature.astype(np.float32)
    noisy = np.minimum(truth + noise, METAL_HU).astype(np.float32)
    return noisy, truth, NOISE_SD_HU


PROBES: dict[str, Callable[[int], Probe]] = {"checkerboard": checkerboard, "text": text, "metal": metal}
