# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files in and out: a volume, or volumes over time, and a copy of the file with other values.

The slice axis is the voxel axis with the largest spacing; where several are equal (to one part in a
thousand), the last of them, which is the slice axis of most files.
"""

from __future__ import annotations

import logging
import math
import os
import struct
import zlib
from collections.abc import Iterator
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
from nsn2n.files.nifti_checks import check_nifti, checked_nifti_name
from nsn2n.runtime.memory import memory_errors
from nsn2n.runtime.modes import limit_mode
from nsn2n.runtime.unfinished import hidden_folder, remove_abandoned
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["NiftiVolume", "read_nifti", "write_nifti"]

logger = logging.getLogger(__name__)


_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code of the unit of space: not known, meter, mm, micron."""

_PARSE_ERRORS = (
    *(OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError),
    *(ArithmeticError, AttributeError, LookupError, NotImplementedError, struct.error, TypeError, ValueError),
)
"""What nibabel raises where the bytes of a header or an extension make no sense."""

_FAR, _KEPT = 32.0, 16.0
"""Values that are further from zero than `_FAR` times their range lie at `_KEPT` times it afterwards: float32 then has
steps of a millionth of the range. They stay away from zero, where the noise of a magnitude would have a mean."""


@dataclass(frozen=True, eq=False)
class NiftiVolume:
    """A volume read from a NIfTI file, and what is needed to write another one like it."""

    stack: SliceStack
    """Values after the file's scaling, less `offset`; each volume over time is a part. Of a modality that is not known,
    since the file does not say it."""
    axes: tuple[int, int, int]
    """The file's voxel axes (0, 1 or 2) that are d, h and w."""
    image: nib.Nifti1Image
    """The stored numbers, unscaled, with the file's header as it was."""
    offset: float = 0.0
    """What was subtracted from the values, in float64, before they became float32; 0 unless they are so far from zero
    that float32 would round them too coarsely."""


def read_nifti(path: str | os.PathLike[str]) -> NiftiVolume:
    """Read a NIfTI file of one volume, or of volumes over time.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file, NIfTI-1 or NIfTI-2, of three axes, or four: then each volume is a part of the
        stack. Further axes of length 1 are allowed.

    Returns
    -------
    NiftiVolume

    Raises
    ------
    VolumeError
        If the file cannot be read, does not hold volumes of real numbers, promises more than it holds or than fits into
        memory, or has no usable spacing.
    NSN2NError
        If memory runs out all the same.
    """
    path = checked_nifti_name(Path(path))
    with memory_errors(path.name):
        return _read(path)


def _read(path: Path) -> NiftiVolume:
    try:
        check_nifti(path)
        loaded = nib.load(path)
        if not isinstance(loaded, nib.Nifti1Image):
            raise VolumeError(f"{path} must be a NIfTI image; it is a {type(loaded).__name__}. Convert it.")
        # A header that was loaded with its image has lost its scaling; this one has the bytes of the file.
        with loaded.file_map["image"].get_prepare_fileobj("rb") as file:
            header = type(loaded.header).from_fileobj(file)
        stored = np.array(cast(ArrayProxy, loaded.dataobj).get_unscaled())
        image = _image_of(stored, loaded, header)
        _slope_inter(image)
    except VolumeError:
        raise
    except _PARSE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise VolumeError(f"{path} cannot be read as NIfTI: {reason}. Check or replace the file.") from error

    axes, spacing_mm = _slices_first(loaded, path)
    depth, height, width = (stored.shape[axis] for axis in axes)
    volumes = stored.size // (depth * height * width)
    offset = _offset(_real(plane, image) for plane in _planes(stored, axes))
    if offset:
        logger.info("%s: %.17g is subtracted from all values, and added again when they are written", path, offset)
    values_dhw = np.empty((volumes * depth, height, width), np.float32)
    for index, plane in enumerate(_planes(stored, axes)):
        real = _real(plane, image)
        values_dhw[index] = _less(real, offset)
        if not np.array_equal(np.isfinite(real), np.isfinite(values_dhw[index])):
            raise VolumeError(
                f"{path} must fit float32; it has magnitudes beyond {np.finfo(np.float32).max:.3g}. Rescale it."
            )
    try:
        stack = SliceStack.of(values_dhw, spacing_mm=spacing_mm, parts=(depth,) * volumes)
    except VolumeError as error:
        raise VolumeError(f"{path} cannot be taken as a volume: {error}") from error
    return NiftiVolume(stack, axes, image, offset)


def write_nifti(
    path: str | os.PathLike[str], volume_dhw: Float32Array, like: NiftiVolume, *, mode: int = 0o666
) -> None:
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
        New values, as those of ``like.stack``: in the unit of the file that was read, less ``like.offset``.
    like : NiftiVolume
        What :func:`read_nifti` returned.
    mode : int
        The permissions that the file gets, as far as the umask leaves them.

    Raises
    ------
    VolumeError
        If the shape differs, a new value is not finite, or the path is not one of a NIfTI file.
    """
    path = checked_nifti_name(Path(path))
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
    for values, plane in zip(volume_dhw, _planes(stored, like.axes), strict=True):
        before = _less(_real(plane, like.image), like.offset)
        changed = (values != before) & ~(np.isnan(values) & np.isnan(before))
        if not np.isfinite(values[changed]).all():
            raise VolumeError(f"The volume to write to {path} must be finite; it has infinite values or NaN.")
        plane[changed], outside = _unscaled(values[changed], like.image, like.offset)
        clipped += outside
    if clipped:
        logger.warning("%d of %d values lie outside of %s and were clipped", clipped, stored.size, stored.dtype)

    image = _image_of(stored, like.image, like.image.header)
    remove_abandoned(path.parent)
    with hidden_folder(path.parent) as folder:
        complete = folder / path.name
        nib.save(image, complete)
        limit_mode(complete, mode)
        complete.replace(path)


def _image_of(stored: NDArray[Any], template: nib.Nifti1Image, header: nib.Nifti1Header) -> nib.Nifti1Image:
    """Return an image of stored numbers that keeps the header's slope and intercept when it is saved."""
    image = type(template)(stored, template.affine, header)
    for field in ("scl_slope", "scl_inter"):  # a new image starts without
        image.header[field] = header[field]
    return image


def _slices_first(image: nib.Nifti1Image, path: Path) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return the voxel axes in the order (d, h, w) and their spacing in mm."""
    unit = int(image.header["xyzt_units"]) % 8  # the other bits are the unit of time
    if unit not in _MM_PER_UNIT:
        raise VolumeError(f"{path} must have a unit of space with a code of 0 to 3; got {unit}. Correct its header.")
    spacing = nib.affines.voxel_sizes(image.affine) * _MM_PER_UNIT[unit]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise VolumeError(f"{path} must have a positive spacing on each axis; got {spacing}. Correct its header.")
    d = int(np.flatnonzero(spacing >= spacing.max() * 0.999)[-1])
    # Rows before columns: the first voxel axis is the fastest one in the file.
    h, w = (axis for axis in (2, 1, 0) if axis != d)
    return (d, h, w), (float(spacing[d]), float(spacing[h]), float(spacing[w]))


def _planes(stored: NDArray[Any], axes: tuple[int, int, int]) -> Iterator[NDArray[Any]]:
    """Yield views of stored numbers, slice by slice of one volume after the other; each has the axes (h, w)."""
    volumes = stored.shape[3] if stored.ndim > 3 else 1
    for index in range(volumes):
        place = (slice(None),) * 3 + ((index,) + (0,) * (stored.ndim - 4) if stored.ndim > 3 else ())
        yield from stored[place].transpose(axes)


def _slope_inter(image: nib.Nifti1Image) -> tuple[float, float]:
    slope, inter = image.header.get_slope_inter()
    return (1.0 if slope is None else slope), (0.0 if inter is None else inter)


def _real(stored: NDArray[Any], image: nib.Nifti1Image) -> NDArray[np.floating[Any]]:
    """Return values after the file's scaling, in float64, or wider."""
    slope, inter = _slope_inter(image)
    return stored.astype(_wide(stored.dtype)) * slope + inter


def _wide(dtype: np.dtype[Any]) -> type[np.floating[Any]]:
    """Integers of 64 bits are no float64; x86-64 has a type that holds them."""
    return np.longdouble if dtype.itemsize > 8 or (dtype.kind in "iu" and dtype.itemsize == 8) else np.float64


def _less(real: NDArray[np.floating[Any]], offset: float) -> Float32Array:
    """Return values less an offset as float32; infinite, where they do not fit it."""
    with np.errstate(over="ignore"):
        less: Float32Array = (real - offset).astype(np.float32)
    return less


def _offset(planes: Iterator[NDArray[np.floating[Any]]]) -> float:
    """Return what is to be subtracted from values that float32 would round too coarsely; 0 if it does not."""
    low, high, rounded = np.longdouble(math.inf), np.longdouble(-math.inf), False
    for plane in planes:
        finite = plane[np.isfinite(plane)]
        if finite.size:
            low, high = min(low, np.longdouble(finite.min())), max(high, np.longdouble(finite.max()))
            rounded = rounded or bool((_less(finite, 0.0) != finite).any())
    reach, nearest = float(high - low), float(max(low, -high))  # negative, where values have both signs
    if not (rounded and 0 < reach < math.inf and _FAR * reach < nearest):
        return 0.0
    step = 2.0 ** math.floor(math.log2(reach))  # whole numbers stay whole
    return math.copysign(math.floor((nearest - _KEPT * reach) / step) * step, float(low))


def _unscaled(values: Float32Array, image: nib.Nifti1Image, offset: float) -> tuple[NDArray[Any], int]:
    """Return what is to be stored for values, and how many of them had to be clipped."""
    slope, inter = _slope_inter(image)
    dtype = image.get_data_dtype()
    numbers = (values.astype(_wide(dtype)) + offset - inter) / slope
    if dtype.kind == "f":
        limits = np.finfo(dtype)
        inside = numbers.clip(limits.min, limits.max)
    else:
        numbers = np.rint(numbers)
        inside = numbers.clip(np.iinfo(dtype).min, np.iinfo(dtype).max)
    return inside.astype(dtype), int(np.count_nonzero(inside != numbers))
