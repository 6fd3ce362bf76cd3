# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Volumes in files of any supported format: reading, and writing with maps on the same grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.errors import VolumeError
from nsn2n.files import FILE_SUFFIXES, format_of
from nsn2n.files.file_volume import FileVolume, complete_files
from nsn2n.runtime.volumes import new_volume

__all__ = ["read_mask", "read_volume", "write_volume"]

_FARTHEST_MM = 1e-3
"""Largest difference of voxel positions in two headers."""


def read_volume(path: Path) -> FileVolume:
    """Read a file according to its name.

    Raises
    ------
    VolumeError
        If its format is not supported, or it is not a volume.
    NSN2NError
        If the package that reads it is missing, or memory runs out.
    """
    kind = format_of(path)
    if kind == "MGH":
        from nsn2n.files.mgh import read_mgh

        return read_mgh(path)
    if kind in ("NRRD", "MetaImage"):
        from nsn2n.files.itk import read_itk

        return read_itk(path)
    from nsn2n.files.nifti import read_nifti
    from nsn2n.files.nifti_checks import checked_nifti_name

    return read_nifti(checked_nifti_name(path, FILE_SUFFIXES))


def read_mask(path: Path, like: FileVolume) -> BoolArray:
    """Read which voxels of a volume another file marks by values other than 0.

    Parameters
    ----------
    path : path
        A file of any supported format, of one volume; several volumes over time all have the same mask.
    like : FileVolume
        On whose grid it must be.

    Returns
    -------
    ndarray, shape of ``like.stack.values``, bool

    Raises
    ------
    VolumeError
        If it cannot be read, is on another grid, or marks no voxel.
    """
    mask = read_volume(path)
    shape, expected = mask.numbers.array.shape, like.numbers.array.shape[:3]
    if shape[:3] != expected or len(mask.stack.parts) != 1:
        raise VolumeError(f"the mask must have the shape of the input, {expected}; {path} has {shape}. Resample it.")
    if not np.allclose(mask.affine, like.affine, atol=_FARTHEST_MM):
        raise VolumeError(
            f"the mask must be on the voxel grid of the input; according to its header {path} is not. Resample it."
        )
    values = mask.numbers.array.reshape(expected).transpose(like.axes)
    parts = len(like.stack.parts)
    inside: BoolArray = new_volume((parts * len(values), *values.shape[1:]), bool)
    for index in range(len(inside)):
        values_hw = values[index % len(values)]
        np.logical_and(np.isfinite(values_hw), values_hw != 0, out=inside[index])
    if not inside.any():
        raise VolumeError(f"the mask must hold values other than 0; {path} has none. Choose another file.")
    return inside


def write_volume(
    path: Path,
    volume_dhw: Float32Array,
    like: FileVolume,
    *,
    maps: Mapping[str, Float32Array] | None = None,
    beside: Mapping[str, bytes] | None = None,
    mode: int = 0o666,
) -> None:
    """Write a file like the one that was read, with other values, and maps of the same shape next to it.

    Everything except the values is kept, including the type of the stored numbers. The files appear when all are
    complete.

    Parameters
    ----------
    path : path
        In an existing folder, with the ending of a name of the format of `like`.
    volume_dhw : ndarray, shape of ``like.stack.values``
        New values, as those of ``like.stack``.
    like : FileVolume
        What :func:`read_volume` returned.
    maps : mapping, optional
        Arrays of that shape by the names of their files, which hold float32.
    beside : mapping, optional
        The content of other files by their names, such as those that describe the images.
    mode : int
        Permissions of the files, subject to the umask.

    Raises
    ------
    VolumeError
        If the shape differs, or a new value is not finite.
    """
    stored = like.numbers.replaced(volume_dhw, path)
    with complete_files(path.parent, mode) as folder:
        like.save(folder / path.name, stored)
        for name, values in (maps or {}).items():
            like.save_map(folder / name, like.numbers.placed(values))
        for name, content in (beside or {}).items():
            (folder / name).write_bytes(content)
