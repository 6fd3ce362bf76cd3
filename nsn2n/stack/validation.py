# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Requirements for a volume to be denoised, and the handling of voxels that hold no measurement."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import ndimage

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.errors import VolumeError
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.runtime.volumes import copied_volume, new_volume

__all__ = ["checked_mask", "checked_values", "fill_invalid"]

_MOST_ROUNDING = 0.25
"""Steps of float32, in units of the noise sd: a quarter adds 0.3 % to the noise."""

_FAR = 32.0
"""Values within this many times their range from zero are rounded to a few millionths of it."""

_SAMPLE = 200_000
"""Number of differences for a rough noise estimate."""


def checked_values(values: ArrayLike) -> Float32Array:
    """Return the values of a volume as float32.

    Parameters
    ----------
    values : array_like, shape (D, H, W), real numbers

    Returns
    -------
    ndarray, shape (D, H, W), float32
        C-contiguous; the same memory where it already is that, and writable, which tensors over it must be.

    Raises
    ------
    VolumeError
        If the array is not three-dimensional, holds no real numbers, has fewer than two slices or an empty axis, or
        float32 cannot hold its values to a quarter of their noise.
    """
    array = np.asarray(values)
    if array.ndim != 3:
        raise VolumeError(f"volume must have the axes (D, H, W); got shape {array.shape}. Pass one volume at a time.")
    if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
        raise VolumeError(f"volume must hold real numbers; got dtype {array.dtype}. Convert it first.")
    if array.shape[0] < 2 or 0 in array.shape:
        raise VolumeError(
            f"volume must have at least 2 slices of at least 1 pixel, since the method trains on neighbors; got shape "
            f"{array.shape}. NS-N2N cannot denoise a single slice."
        )
    with np.errstate(over="ignore"):
        result: Float32Array = _as_float32(array)
    if not np.issubdtype(array.dtype, np.float32) and _finite_count(result) != _finite_count(array):
        raise VolumeError(f"volume must fit float32; got magnitudes beyond {np.finfo(np.float32).max:.3g}. Rescale it.")
    if not np.issubdtype(array.dtype, np.float32):
        _check_rounding(array, result)
    return result


def _as_float32(array: NDArray[Any]) -> Float32Array:
    """Return the array itself if it is C-contiguous, writable and native float32, else a copy that is."""
    if array.dtype == np.float32 and array.flags.c_contiguous and array.flags.writeable:
        return array
    converted: Float32Array = new_volume(array.shape, np.float32)
    converted[...] = array
    return converted


def _finite_count(array: NDArray[Any]) -> int:
    return sum(int(np.count_nonzero(np.isfinite(slice_hw))) for slice_hw in array)  # by slices, to save memory


def _check_rounding(array: NDArray[Any], rounded: Float32Array) -> None:
    """Refuse values that are so far from zero that float32 rounds their noise away."""
    low, high = np.inf, -np.inf
    for slice_hw in rounded:  # by slices, to save memory
        finite = slice_hw[np.isfinite(slice_hw)]
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if low > high:
        return
    largest = max(abs(low), abs(high))
    if largest <= _FAR * (high - low):
        return
    # float64 cannot hold 64-bit integers; x86-64 has a type that can.
    wide = np.longdouble if array.dtype.kind in "iu" else array.dtype
    flat = array.reshape(len(array), -1)[:, :: max(1, array.size // _SAMPLE)].astype(wide)
    differences = np.abs(np.diff(flat, axis=0))
    differences = differences[np.isfinite(differences)]
    noise = 1.4826 / np.sqrt(2) * float(np.median(differences)) if differences.size else 0.0
    own_step = 0.0 if array.dtype.kind in "iu" else 8 * float(np.spacing(array.dtype.type(largest)))
    step = float(np.spacing(np.float32(largest)))
    if own_step < noise and step > _MOST_ROUNDING * noise:
        raise VolumeError(
            f"volume must fit float32 to a quarter of its noise; got values around {low:.6g} with noise of about "
            f"{noise:.3g}, which float32 rounds to steps of {step:.3g}. Subtract an offset first, and add it to the "
            "result in float64."
        )


def checked_mask(values_dhw: Float32Array, mask: ArrayLike | None) -> BoolArray | None:
    """Return the voxels that hold a measurement: those of the mask whose value is finite.

    Parameters
    ----------
    values_dhw : ndarray, shape (D, H, W), float32
    mask : array_like, same shape, bool, optional
        All by default.

    Returns
    -------
    ndarray, shape (D, H, W), bool, or None
        None: all voxels.

    Raises
    ------
    VolumeError
        If the mask has another shape.
    """
    valid = np.isfinite(values_dhw, out=new_volume(values_dhw.shape, bool))
    if mask is not None:
        given = np.asarray(mask, dtype=bool)
        if given.shape != values_dhw.shape:
            raise VolumeError(f"mask must have the volume's shape {values_dhw.shape}; got {given.shape}.")
        valid &= given
    return None if bool(valid.all()) else valid


def fill_invalid(volume_dhw: Float32Array, valid: BoolArray) -> Float32Array:
    """Return a copy in which each invalid voxel has the value of the nearest valid one of its slice.

    This avoids edges at the border of the padding and the spread of NaN. A slice without a valid voxel becomes 0.

    Parameters
    ----------
    volume_dhw : ndarray, shape (D, H, W), float32
    valid : ndarray, shape (D, H, W), bool

    Returns
    -------
    ndarray, shape (D, H, W), float32, finite
    """
    filled: Float32Array = copied_volume(volume_dhw)

    def fill(index: int) -> None:
        slice_hw, valid_hw = filled[index], valid[index]
        if not valid_hw.any():
            slice_hw[:] = 0.0
        elif not valid_hw.all():
            nearest = ndimage.distance_transform_edt(~valid_hw, return_distances=False, return_indices=True)
            slice_hw[:] = slice_hw[tuple(nearest)]

    for_each_slice(fill, range(len(filled)))
    return filled
