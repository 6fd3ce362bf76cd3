# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files in and out: a volume, or volumes over time, and a copy of the file with other values."""

from __future__ import annotations

import os
import struct
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
from nsn2n.files.file_volume import FileVolume, complete_files
from nsn2n.files.nifti_checks import check_nifti, checked_nifti_name
from nsn2n.files.stored_numbers import StoredNumbers
from nsn2n.runtime.memory import memory_errors
from nsn2n.stack.slice_axis import slices_first

__all__ = ["NiftiVolume", "read_nifti", "write_nifti"]

_MM_PER_UNIT = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
"""By the code of the unit of space: unknown, meter, mm, micron."""

_PARSE_ERRORS = (
    *(OSError, EOFError, zlib.error, ImageFileError, HeaderDataError, HeaderTypeError),
    *(ArithmeticError, AttributeError, LookupError, NotImplementedError, struct.error, TypeError, ValueError),
)
"""Exceptions that nibabel raises on an invalid header or extension."""


@dataclass(frozen=True, eq=False, kw_only=True)
class NiftiVolume(FileVolume):
    """A volume read from a NIfTI file, and what is needed to write another one like it."""

    image: nib.Nifti1Image
    """The stored numbers, unscaled, with the file's header as it was."""

    def save(self, path: Path, stored: NDArray[Any]) -> None:
        """Write a file like the one that was read, with other stored numbers."""
        nib.save(_image_of(stored, self.image, self.image.header), path)

    def save_map(self, path: Path, values: NDArray[np.float32]) -> None:
        """Write a file on the same grid that holds values of another meaning, as float32 without scaling."""
        image = type(self.image)(values, self.image.affine, self.image.header, dtype=np.float32)
        for field in ("cal_min", "cal_max"):  # the window of the values that were read
            image.header[field] = 0
        nib.save(image, path)


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
        If the file cannot be read, does not hold volumes of real numbers, declares more than it holds or than fits into
        memory, or has no usable spacing.
    NSN2NError
        If memory runs out nevertheless.
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
        # A header loaded with its image has lost its scaling; this one has the bytes of the file.
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

    spacing, affine = _grid(loaded, path)
    slope, inter = _slope_inter(image)
    axes = slices_first(spacing)
    numbers = StoredNumbers(stored, axes, slope, inter).with_offset(path)
    d, h, w = axes
    stack = numbers.stack(path, (spacing[d], spacing[h], spacing[w]))
    return NiftiVolume(stack=stack, numbers=numbers, affine=affine, image=image)


def write_nifti(
    path: str | os.PathLike[str], volume_dhw: Float32Array, like: NiftiVolume, *, mode: int = 0o666
) -> None:
    """Write a file like the one that was read, with other values.

    Everything except the values is kept: axes, affines and their codes, units, header texts, extensions, data
    type, and slope and intercept of the stored numbers. In a file of integers a value becomes the nearest
    number that can be stored (halves to even), within the type's limits. Where a value is that of the file
    that was read, the stored number stays the same, bit for bit.

    Parameters
    ----------
    path : path
        A ``.nii`` or ``.nii.gz`` file in an existing folder. It appears when it is complete.
    volume_dhw : ndarray, shape of ``like.stack.values``
        New values, as those of ``like.stack``: in the unit of the file that was read, minus ``like.offset``.
    like : NiftiVolume
        What :func:`read_nifti` returned.
    mode : int
        Permissions of the file, subject to the umask.

    Raises
    ------
    VolumeError
        If the shape differs, a new value is not finite, or the path is not one of a NIfTI file.
    """
    path = checked_nifti_name(Path(path))
    if not path.parent.is_dir():
        raise VolumeError(f"The folder of {path} must exist. Create it first.")
    stored = like.numbers.replaced(volume_dhw, path)
    with complete_files(path.parent, mode) as folder:
        like.save(folder / path.name, stored)


def _image_of(stored: NDArray[Any], template: nib.Nifti1Image, header: nib.Nifti1Header) -> nib.Nifti1Image:
    """Return an image of stored numbers that keeps the header's slope and intercept when it is saved."""
    image = type(template)(stored, template.affine, header)
    for field in ("scl_slope", "scl_inter"):  # a new image starts without
        image.header[field] = header[field]
    return image


def _grid(image: nib.Nifti1Image, path: Path) -> tuple[list[float], NDArray[np.float64]]:
    """Return the spacing of the voxel axes in mm, and the affine in mm."""
    unit = int(image.header["xyzt_units"]) % 8  # the other bits are the unit of time
    if unit not in _MM_PER_UNIT:
        raise VolumeError(f"{path} must have a unit of space with a code of 0 to 3; got {unit}. Correct its header.")
    spacing = nib.affines.voxel_sizes(image.affine) * _MM_PER_UNIT[unit]
    if not (np.isfinite(spacing).all() and (spacing > 0).all()):
        raise VolumeError(f"{path} must have a positive spacing on each axis; got {spacing}. Correct its header.")
    to_mm = np.diag([*(_MM_PER_UNIT[unit],) * 3, 1.0])
    return [float(one) for one in spacing], to_mm @ image.affine


def _slope_inter(image: nib.Nifti1Image) -> tuple[float, float]:
    slope, inter = image.header.get_slope_inter()
    return (1.0 if slope is None else slope), (0.0 if inter is None else inter)
