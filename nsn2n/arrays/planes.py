# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Filters along rows and columns: SciPy's for NumPy arrays, and the same filters for tensors.

A linear filter along one axis is a matrix, which is obtained by filtering the identity with SciPy. So the weights and
the border are the same, and a GPU computes matrix products fastest. All take the shape (..., H, W) and reflect the
border.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Array
from nsn2n.arrays.either import namespace, on_device

__all__ = ["blocks", "convolved", "gaussian", "maximum", "minimum"]

_MATRICES = 64
"""Kept of those made so far, each of 1 MB for 512 pixels. A run needs some twenty."""


def gaussian(values: Array, sigma_px: float, truncate: float = 4.0) -> Array:
    """Return the Gaussian mean, as `scipy.ndimage.gaussian_filter` defines it, in single precision.

    Parameters
    ----------
    values : array, shape (..., H, W), float32
    sigma_px : float
        Standard deviation of the Gaussian, in pixels.
    truncate : float
        Its reach, in standard deviations.
    """
    if isinstance(values, np.ndarray):
        sigmas = (0.0,) * (values.ndim - 2) + (sigma_px, sigma_px)
        return ndimage.gaussian_filter(values, sigmas, truncate=truncate)

    return _product(values, partial(_gaussian_matrix, sigma_px=sigma_px, truncate=truncate))


def convolved(values: Array, kernel: Sequence[float]) -> Array:
    """Return the convolution with the same kernel along rows and along columns, float32."""
    weights = tuple(float(weight) for weight in kernel)
    if isinstance(values, np.ndarray):
        rows = ndimage.convolve1d(values, np.asarray(weights, np.float32), axis=-2, mode="reflect")
        return ndimage.convolve1d(rows, np.asarray(weights, np.float32), axis=-1, mode="reflect")
    return _product(values, partial(_convolution_matrix, kernel=weights))


def maximum(values: Array, edge_px: int) -> Array:
    """Return the largest value in a square around each pixel; ``edge_px`` is odd."""
    if isinstance(values, np.ndarray):
        return ndimage.maximum_filter(values, (1,) * (values.ndim - 2) + (edge_px, edge_px))
    pooled = namespace(values).nn.functional.max_pool2d(
        values.reshape(-1, 1, *values.shape[-2:]).float(), edge_px, stride=1, padding=edge_px // 2
    )
    return pooled.reshape(values.shape).to(values.dtype)


def minimum(values: Array, edge_px: int) -> Array:
    """Return the least value in a square around each pixel; ``edge_px`` is odd."""
    if isinstance(values, np.ndarray):
        return ndimage.minimum_filter(values, (1,) * (values.ndim - 2) + (edge_px, edge_px))
    return -maximum(-values, edge_px)


def blocks(values: Array, edge_px: int) -> Array:
    """Return square blocks of a plane, continued by its mirror image, shape (rows, columns, edge_px ** 2).

    Parameters
    ----------
    values : array, shape (H, W)
    edge_px : int
        Edge of the blocks.
    """
    height, width = values.shape
    missing = (-height % edge_px, -width % edge_px)
    if isinstance(values, np.ndarray):
        values = np.pad(values, [(0, count) for count in missing], mode="symmetric")
    else:
        for axis, (size, count) in enumerate(zip((height, width), missing, strict=True)):
            if count:
                mirrored = np.pad(np.arange(size), (0, count), mode="symmetric")
                values = values.index_select(axis, on_device(mirrored, values.device))
    rows, columns = values.shape[0] // edge_px, values.shape[1] // edge_px
    return values.reshape(rows, edge_px, columns, edge_px).swapaxes(1, 2).reshape(rows, columns, -1)


def _product(values: Array, matrix: Callable[[int, Any], Array]) -> Array:
    """Apply the linear filter that has such a matrix, for so many pixels on a device, along both axes of the planes."""
    rows, columns = (matrix(size, values.device) for size in values.shape[-2:])
    return rows @ values @ columns.T


@lru_cache(_MATRICES)
def _gaussian_matrix(size: int, device: Any, *, sigma_px: float, truncate: float) -> Array:
    along = ndimage.gaussian_filter1d(np.eye(size), sigma_px, axis=0, truncate=truncate)
    return on_device(along.astype(np.float32), device)


@lru_cache(_MATRICES)
def _convolution_matrix(size: int, device: Any, *, kernel: tuple[float, ...]) -> Array:
    along = ndimage.convolve1d(np.eye(size), np.asarray(kernel), axis=0, mode="reflect")
    return on_device(along.astype(np.float32), device)
