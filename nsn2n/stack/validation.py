# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a volume must be before it can be denoised, and what is done about voxels that hold no measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from nsn2n.errors import VolumeError

__all__ = ["checked_volume", "fill_invalid"]


def checked_volume(
    volume: ArrayLike, exclude: ArrayLike | None = None
) -> tuple[NDArray[np.float32], NDArray[np.bool_] | None]:
    """Return a volume as float32 and the voxels that take part.

    Parameters
    ----------
    volume : array_like, shape (D, H, W), real numbers
    exclude : array_like, shape (D, H, W), bool, optional
        Voxels that take no part, such as padding.

    Returns
    -------
    volume_dhw : ndarray, shape (D, H, W), float32
        C-contiguous; the same memory where it already is that, and writable, which tensors over it must be.
    valid : ndarray, shape (D, H, W), bool, or None
        Voxels that are finite and not excluded; None: all.

    Raises
    ------
    VolumeError
        If the array is not three-dimensional, holds no real numbers, has fewer than two slices or an empty axis, if
        ``exclude`` has another shape, or a value does not fit float32.
    """
    array = np.asarray(volume)
    if array.ndim != 3:
        raise VolumeError(f"volume must have the axes (D, H, W); got shape {array.shape}. Pass one volume at a time.")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise VolumeError(f"volume must hold real numbers; got dtype {array.dtype}. Convert it first.")
    if array.shape[0] < 2 or 0 in array.shape:
        raise VolumeError(
            f"volume must have at least 2 slices of at least 1 pixel, since neighbors teach each other; got shape "
            f"{array.shape}. NS-N2N cannot denoise a single slice."
        )
    with np.errstate(over="ignore"):
        result = np.require(array, np.float32, ["C", "W"])
    valid = np.isfinite(result)
    if not np.issubdtype(array.dtype, np.float32) and int(valid.sum()) != int(np.isfinite(array).sum()):
        raise VolumeError(f"volume must fit float32; got magnitudes beyond {np.finfo(np.float32).max:.3g}. Rescale it.")
    if exclude is not None:
        mask: NDArray[Any] = np.asarray(exclude, dtype=bool)
        if mask.shape != array.shape:
            raise VolumeError(f"exclude must have the volume's shape {array.shape}; got {mask.shape}.")
        valid &= ~mask
    return result, None if bool(valid.all()) else valid


def fill_invalid(volume_dhw: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Return a copy in which each invalid voxel has the value of the nearest valid one of its slice.

    So no edge arises at the border of the padding and no NaN spreads. A slice without a valid voxel becomes 0.

    Parameters
    ----------
    volume_dhw : ndarray, shape (D, H, W), float32
    valid : ndarray, shape (D, H, W), bool

    Returns
    -------
    ndarray, shape (D, H, W), float32, finite
    """
    filled: NDArray[np.float32] = volume_dhw.copy()
    for slice_hw, valid_hw in zip(filled, valid, strict=True):
        if not valid_hw.any():
            slice_hw[:] = 0.0
        elif not valid_hw.all():
            nearest = ndimage.distance_transform_edt(~valid_hw, return_distances=False, return_indices=True)
            slice_hw[:] = slice_hw[tuple(nearest)]
    return filled
