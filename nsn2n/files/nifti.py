# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files in and out: one 3D volume, and a copy of its file with other values.

The slice axis is the voxel axis with the largest spacing; where several are equal (to one part in a
thousand), the last of them, which is the slice axis of most files.
"""

from __future__ import annotations

import logging
import os
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError, HeaderTypeError
from numpy.typing import NDArray

from nsn2n._aliases import Float32Array
from nsn2n.errors import VolumeError
from nsn2n.files import NIFTI_SUFFIXES
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["NiftiVolume", "read_nifti", "write_nifti"]

logger = logging.getLogger(__name__)


_MM_PER_UNIT = {"meter": 1000.0, "mm": 1.0, "micron": 0.001, "unknown": 1.0}


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """A volume read from a NIfTI file, and what is needed to write another one like it."""

    stack: SliceStack
    """Values after the file's scaling; of a modality that is not known, since the file does not say it."""
    axes: tuple[int, int, int]
    """The file's voxel axes (0, 1 or 2) that are d, h and w."""
    image: nib.Nifti1Image
    """The stored numbers, unscaled, with the file's header as it was."""


def read_nifti(path: str | os.PathLike[str]) -> NiftiVolume:
    """Read a 3D NIfTI file.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file, NIfTI-1 or NIfTI-2. A fourth axis of length 1 is allowed.

    Returns
    -------
    NiftiVolume

    Raises
    ------
    VolumeError
        If the file cannot be read, is not one 3D volume of real numbers, or has no usable spacing.
    """
    path = _checked_path(path)
    try:
        loaded = nib.load(path)
        if not isinstance(loaded, nib.Nifti1Image):
            raise VolumeError(f"{path} must be a NIfTI image; it is a {type(loaded).__name__}. Convert it.")
        _check_kind(loaded, path)
        # A header that was loaded with its image has lost its scaling; this one has the bytes of the file.
        with loaded.file_map["image"].get_prepare_fileobj("rb") as file:
            header = type(loaded.header).from_fileobj(file)
        stored = np.array(cast(ArrayProxy, loaded.dataobj).get_unscaled())
    except (OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError) as error:
        reason = " ".join(str(error).split())
        raise VolumeError(f"{path} cannot be read as NIfTI: {reason}. Check or replace the file.") from error

    axes, spacing_mm = _slices_first(loaded, path)
    image = _image_of(stored, loaded, header)
    stored_dhw = _as_dhw(stored, axes)
    volume_dhw = np.empty(stored_dhw.shape, np.float32)
    for index, plane in enumerate(stored_dhw):
        volume_dhw[index] = _scaled(plane, image)
    try:
        stack = SliceStack.of(volume_dhw, spacing_mm=spacing_mm)
    except VolumeError as error:
        raise VolumeError(f"{path} cannot be taken as a volume: {error}") from error
    return NiftiVolume(stack, axes, image)


def write_nifti(path: str | os.PathLike[str], volume_dhw: Float32Array, like: NiftiVolume) -> None:
    """Write a file like the one that was read, with other values.

    Everything but the values is kept: axes, affines and their codes, units, header texts, extensions, data
    type, and slope and intercept of the stored numbers. In a file of integers a value becomes the nearest
    number that can be stored (halves to even), within the type's limits. Where a value is that of the file
    that was read, the stored number stays the same, bit for bit.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file in an existing folder. It appears when it is complete.
    volume_dhw : ndarray, shape of ``like.stack.values``
        New values, in the unit of the file that was read.
    like : NiftiVolume
        What :func:`read_nifti` returned.

    Raises
    ------
    VolumeError
        If the shape differs, a new value is not finite, or the path is not one of a NIfTI file.
    """
    path = _checked_path(path)
    if not path.parent.is_dir():
        raise VolumeError(f"The folder of {path} must exist. Create it first.")
    if volume_dhw.shape != like.stack.values.shape:
        raise VolumeError(
            f"The volume to write to {path} must have the shape of the one that was read, "
            f"{like.stack.values.shape} (slices, rows, columns); got {volume_dhw.shape}. "
            "Do not crop or transpose it."
        )
    stored = np.array(like.image.dataobj)
    clipped = 0
    for values, plane in zip(volume_dhw, _as_dhw(stored, like.axes), strict=True):
        before = _scaled(plane, like.image)
        changed = (values != before) & ~(np.isnan(values) & np.isnan(before))
        if not np.isfinite(values[changed]).all():
            raise VolumeError(f"The volume to write to {path} must be finite; it has infinite values or NaN.")
        plane[changed], outside = _unscaled(values[changed], like.image)
        clipped += outside
    if clipped:
        logger.warning("%d of %d values lie outside of %s and were clipped", clipped, stored.size, stored.dtype)

    image = _image_of(stored, like.image, like.image.header)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".nsn2n-") as folder:
        complete = Path(folder) / path.name
        nib.save(image, complete)
        complete.replace(path)


def _checked_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if not path.name.endswith(NIFTI_SUFFIXES):
        raise VolumeError(f"The name of a NIfTI file must end in {' or '.join(NIFTI_SUFFIXES)}; got {path}.")
    return path


def _check_kind(image: nib.Nifti1Image, path: Path) -> None:
    dtype = image.get_data_dtype()
    if dtype.kind not in "iuf":
        raise VolumeError(f"{path} must hold real numbers; it holds {dtype}. Convert it to one gray-value volume.")
    shape = image.shape
    if len(shape) < 3 or any(length != 1 for length in shape[3:]) or 0 in shape:
        raise VolumeError(f"{path} must hold one 3D volume; its shape is {shape}. Split it into volumes.")


def _image_of(stored: NDArray[Any], template: nib.Nifti1Image, header: nib.Nifti1Header) -> nib.Nifti1Image:
    """Return an image of stored numbers that keeps the header's slope and intercept when it is saved."""
    image = type(template)(stored, template.affine, header)
    for field in ("scl_slope", "scl_inter"):  # a new image starts without
        image.header[field] = header[field]
    return image


def _slices_first(image: nib.Nifti1Image, path: Path) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return the voxel axes in the order (d, h, w) and their spacing in mm."""
    spacing = nib.affines.voxel_sizes(image.affine) * _MM_PER_UNIT[image.header.get_xyzt_units()[0]]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise VolumeError(f"{path} must have a positive spacing on each axis; got {spacing}. Correct its header.")
    d = int(np.flatnonzero(spacing >= spacing.max() * 0.999)[-1])
    # Rows before columns: the first voxel axis is the fastest one in the file.
    h, w = (axis for axis in (2, 1, 0) if axis != d)
    return (d, h, w), (float(spacing[d]), float(spacing[h]), float(spacing[w]))


def _as_dhw(stored: NDArray[Any], axes: tuple[int, int, int]) -> NDArray[Any]:
    """Return a view of stored numbers with the slice axis in front."""
    view: NDArray[Any] = stored[(slice(None),) * 3 + (0,) * (stored.ndim - 3)].transpose(axes)
    return view


def _slope_inter(image: nib.Nifti1Image) -> tuple[float, float]:
    slope, inter = image.header.get_slope_inter()
    return (1.0 if slope is None else slope), (0.0 if inter is None else inter)


def _scaled(stored: NDArray[Any], image: nib.Nifti1Image) -> Float32Array:
    slope, inter = _slope_inter(image)
    scaled: Float32Array = (stored.astype(np.float64) * slope + inter).astype(np.float32)
    return scaled


def _unscaled(values: Float32Array, image: nib.Nifti1Image) -> tuple[NDArray[Any], int]:
    """Return what is to be stored for values, and how many of them had to be clipped."""
    slope, inter = _slope_inter(image)
    dtype = image.get_data_dtype()
    numbers = (values.astype(np.float64) - inter) / slope
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        inside = numbers.clip(float(limits.min), float(limits.max))
    else:
        numbers = np.rint(numbers)
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        # The largest 64-bit integers are no doubles: the next smaller one is.
        top = float(high) if int(float(high)) <= high else float(np.nextafter(float(high), 0))
        inside = numbers.clip(low, top)
    return inside.astype(dtype), int(np.count_nonzero(inside != numbers))
