# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Standard deviations of noise in square blocks of a slice, and the map that blocks make."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from nsn2n._aliases import Array
from nsn2n.arrays.either import float32, namespace, on_device
from nsn2n.arrays.planes import blocks as blocks_of
from nsn2n.arrays.planes import convolved
from nsn2n.arrays.ranks import median, nanmedian

__all__ = ["BLOCK_PX", "MAD_TO_SD", "block_sd", "noise_sd_slice", "second_difference"]

BLOCK_PX = 16
"""Edge of the square blocks in which the noise is taken as constant."""

MAD_TO_SD = 1.4826
"""Standard deviation of a normal distribution per median absolute deviation."""

_SECOND_DIFFERENCE = tuple(np.array([1.0, -2.0, 1.0], np.float32) / np.sqrt(6.0, dtype=np.float32))
"""Of unit gain for white noise."""


def second_difference(image_hw: Array) -> Array:
    """Second difference along both axes, shape (H, W), of unit gain for white noise."""
    return convolved(image_hw, _SECOND_DIFFERENCE)


def block_sd(image_hw: Array, usable: Array | None) -> Array:
    """Return the robust standard deviation around 0 in each block, shape (ceil(H / 16), ceil(W / 16)), float32.

    Parameters
    ----------
    image_hw : array, shape (H, W), float32
    usable : array, same shape, bool, optional
        Pixels that count; blocks without any get the image's median.
    """
    magnitude = abs(image_hw)
    if usable is None or bool(usable.all()):
        return float32(median(blocks_of(magnitude, BLOCK_PX)) * MAD_TO_SD)
    magnitude = namespace(magnitude).where(usable, magnitude, np.nan)
    blocks = blocks_of(magnitude, BLOCK_PX)
    empty = namespace(blocks).isnan(blocks).all(-1)
    blocks[empty] = nanmedian(magnitude.reshape(-1)) if bool(usable.any()) else 0.0
    return float32(nanmedian(blocks) * MAD_TO_SD)


def noise_sd_slice(blocks_hw: Array, shape_hw: tuple[int, int]) -> Array:
    """Interpolate the block values of one slice to its pixels, bilinearly between block centers.

    Parameters
    ----------
    blocks_hw : array, shape (ceil(H / 16), ceil(W / 16)), float32
    shape_hw : tuple of int
        (H, W)

    Returns
    -------
    array of that kind, shape (H, W), float32
    """
    # Not a product of matrices, whose order of additions depends on the threads of the library that computes it.
    device = None if isinstance(blocks_hw, np.ndarray) else blocks_hw.device
    for axis, pixels in enumerate(shape_hw):
        low, high, share = _between_blocks(pixels, blocks_hw.shape[axis], device)
        if axis == 0:
            share = share[:, None]
        low_hw, high_hw = (blocks_hw[(slice(None),) * axis + (index,)] for index in (low, high))
        blocks_hw = low_hw + share * (high_hw - low_hw)
    return blocks_hw


@lru_cache(8)
def _between_blocks(pixels: int, blocks: int, device: Any) -> tuple[Array, Array, Array]:
    """Blocks whose centers are before and after each pixel, and the weight of the latter; constant beyond the ends."""
    place = np.clip((np.arange(pixels) + 0.5) / BLOCK_PX - 0.5, 0, blocks - 1)
    low = np.floor(place).astype(np.intp)
    high, share = np.minimum(low + 1, blocks - 1), (place - low).astype(np.float32)
    if device is None:
        return low, high, share
    return on_device(low, device), on_device(high, device), on_device(share, device)
