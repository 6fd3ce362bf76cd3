# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Medians as NumPy defines them: of an even number, the mean of the two in the middle."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Array
from nsn2n.arrays.either import namespace, on_device

__all__ = ["kept_smallest_mean", "median", "median_filtered", "nanmedian"]


def median(values: Array) -> Array:
    """Return the median along the last axis, shape without it."""
    if isinstance(values, np.ndarray):
        return np.median(values, axis=-1)
    count = values.shape[-1]
    ordered = values.sort(dim=-1).values
    return 0.5 * (ordered[..., (count - 1) // 2] + ordered[..., count // 2])


def nanmedian(values: Array) -> Array:
    """Return the median along the last axis of what is not NaN; NaN where nothing is."""
    if isinstance(values, np.ndarray):
        return np.nanmedian(values, axis=-1)
    torch = namespace(values)
    missing = values.isnan()
    count = (~missing).sum(-1, keepdim=True)
    ordered = torch.where(missing, torch.inf, values).sort(dim=-1).values
    low, high = (ordered.gather(-1, place.clip(min=0)) for place in ((count - 1) // 2, count // 2))
    return torch.where(count > 0, 0.5 * (low + high), torch.nan)[..., 0]


def kept_smallest_mean(values: Array, kept: int) -> Array:
    """Return the mean of so many of the smallest values along the last axis."""
    if isinstance(values, np.ndarray):
        return np.partition(values, kept, axis=-1)[..., :kept].mean(axis=-1)
    return values.sort(dim=-1).values[..., :kept].mean(-1)


def median_filtered(values: Array, size: Sequence[int]) -> Array:
    """Return the median in a window around each voxel; beyond the ends the last one counts again.

    Parameters
    ----------
    values : array, shape (n, rows, columns)
        Few: a tensor is held as many times as a window has voxels.
    size : sequence of 3 odd ints
        Of the window.
    """
    if isinstance(values, np.ndarray):
        return ndimage.median_filter(values, size=tuple(size), mode="nearest")
    for axis, (count, edge) in enumerate(zip(values.shape, size, strict=True)):
        padded = np.pad(np.arange(count), edge // 2, mode="edge")
        values = values.index_select(axis, on_device(padded, values.device))
    inner = [range(edge) for edge in size]
    ends = [count - edge + 1 for count, edge in zip(values.shape, size, strict=True)]
    windows = [
        values[tuple(slice(first, first + end) for first, end in zip(firsts, ends, strict=True))]
        for firsts in itertools.product(*inner)
    ]
    return median(namespace(values).stack(windows, -1))
