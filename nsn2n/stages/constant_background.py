# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Restores what was exactly constant around the object, bit for bit.

Outside of the field of view, of a mask or of what was acquired, images are filled up with one value (0, -1024, -3024),
whether or not PixelPaddingValue says so. Nothing was measured there, and other programs may look for that value.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage

__all__ = ["constant_background", "in_constant_background"]

WINDOW_PX = 5
"""A background holds squares of this size. Zeros that come by chance, as between counts of PET, do not: to restore them
among voxels that were denoised would lower the mean."""

NOTCH_PX = 8
"""So far it reaches into places that are narrower than the square."""

CROSS = ndimage.generate_binary_structure(2, 1)


def constant_background() -> Stage:
    """Return the stage."""
    return Stage("constant background", _restore)


def _restore(state: PipelineState, clock: StageClock) -> PipelineState:
    for noisy_hw, denoised_hw in zip(state.noisy, state.denoised, strict=True):
        background = in_constant_background(noisy_hw)
        denoised_hw[background] = noisy_hw[background]
    return state


def in_constant_background(values_hw: Float32Array) -> BoolArray:
    """Find the pixels of areas of one value that reach the border of a slice.

    Parameters
    ----------
    values_hw : ndarray, shape (H, W)

    Returns
    -------
    ndarray, shape (H, W), bool
    """
    # Beyond the border the image goes on as it is there, so half of a square suffices.
    highest = ndimage.maximum_filter(values_hw, WINDOW_PX, mode="nearest")
    lowest = ndimage.minimum_filter(values_hw, WINDOW_PX, mode="nearest")
    squares = ndimage.binary_dilation(highest == lowest, np.ones((WINDOW_PX, WINDOW_PX), bool))
    areas, _ = ndimage.label(squares, CROSS)
    at_border = np.concatenate([areas[0], areas[-1], areas[:, 0], areas[:, -1]])
    background: BoolArray = squares & np.isin(areas, np.unique(at_border))
    if background.any():
        alike = np.isin(values_hw, np.unique(values_hw[background]))
        background = ndimage.binary_dilation(background, CROSS, iterations=NOTCH_PX, mask=alike)
    return background
