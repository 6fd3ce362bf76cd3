# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""From values of the modality back to stored values, in the coding of the source."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.valuerep import DSfloat

from nsn2n.dicom.pixels.pixel_format import PixelFormat

__all__ = ["EncodedSlice", "encode_slice"]


@dataclass(frozen=True, eq=False)
class EncodedSlice:
    """New stored values of one slice."""

    stored_hw: NDArray[np.int32]
    clipped: int
    moved_off_padding: int
    pixels: PixelFormat
    """Coding of the source, possibly with another slope."""
    new_slope: bool = False
    """Whether the slope was changed."""


def encode_slice(values_hw: NDArray[Any], source_stored_hw: NDArray[np.int32], pixels: PixelFormat) -> EncodedSlice:
    """Turn values of the modality into stored values: rint((value - intercept) / slope).

    Parameters
    ----------
    values_hw : array, shape (H, W)
        Finite values.
    source_stored_hw : array, shape (H, W), int32
        Stored values of the source. Where the value was not changed, or the source is padding, they are kept
        exactly.
    pixels : PixelFormat

    Returns
    -------
    EncodedSlice
        Within the range of BitsStored; a pixel reads as padding if and only if it does in the source. In PET
        the slope is a new one, and no value but padding is kept, if the values do not fit the slope of the source.
    """
    padding = pixels.is_padding(source_stored_hw)
    kept = padding | (values_hw.astype(np.float32) == pixels.to_values(source_stored_hw))
    rescaled = False
    if pixels.slope_may_change:
        fitting = _fitting_slope(values_hw[~padding], pixels)
        if fitting != pixels.slope:
            kept, pixels, rescaled = padding, replace(pixels, slope=fitting), True
    exact = (values_hw.astype(np.float64) - pixels.intercept) / pixels.slope
    low, high = pixels.stored_range
    outside = ~kept & ((np.rint(exact) < low) | (np.rint(exact) > high))
    stored = np.rint(np.clip(exact, low, high)).astype(np.int32)
    collides = ~kept & pixels.is_padding(stored)
    if pixels.padding is not None and collides.any():
        stored[collides] = _nearest_outside(exact[collides], pixels.padding, (low, high))
    return EncodedSlice(
        stored_hw=np.where(kept, source_stored_hw, stored),
        clipped=int(np.count_nonzero(outside)),
        moved_off_padding=int(np.count_nonzero(collides)),
        pixels=pixels,
        new_slope=rescaled,
    )


def _fitting_slope(values: NDArray[Any], pixels: PixelFormat) -> float:
    """Return the slope of the source if all values fit it, else the smallest that they fit.

    Unsigned values cannot represent values below 0 with any slope.
    """
    if not values.size:
        return pixels.slope
    low, high = pixels.stored_range
    needed = max(float(values.max()) / high, float(values.min()) / low if low else 0.0)
    if np.rint(needed / pixels.slope * high) <= high:
        return pixels.slope
    return float(str(DSfloat(needed, auto_format=True)))  # as stored in the file


def _nearest_outside(
    exact: NDArray[np.float64], padding: tuple[int, int], stored_range: tuple[int, int]
) -> NDArray[np.int32]:
    """The stored value nearest to each exact one that is in range and not padding."""
    below, above = padding[0] - 1, padding[1] + 1
    to_below = exact - below < above - exact
    if below < stored_range[0]:
        to_below = np.zeros_like(to_below)
    elif above > stored_range[1]:
        to_below = np.ones_like(to_below)
    return np.where(to_below, below, above).astype(np.int32)
