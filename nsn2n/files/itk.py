# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NRRD and MetaImage files in and out, with SimpleITK."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nsn2n.errors import NSN2NError, VolumeError
from nsn2n.files.file_volume import FileVolume
from nsn2n.files.stored_numbers import StoredNumbers
from nsn2n.runtime.memory import find_room, memory_errors
from nsn2n.stack.slice_axis import slices_first

__all__ = ["ItkVolume", "read_itk"]

_HEAD_BYTES = 1 << 16
_COMPRESSED = re.compile(rb"^(?:encoding: *(?:gz|gzip|bz2|bzip2)|CompressedData *= *True) *\r?$", re.MULTILINE | re.I)
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False, kw_only=True)
class ItkVolume(FileVolume):
    """A volume read by SimpleITK, and what is needed to write another one like it."""

    image: Any
    """The SimpleITK image that was read."""
    compressed: bool
    """Whether the voxels of the file are."""

    def save(self, path: Path, stored: NDArray[Any]) -> None:
        """Write a file like the one that was read, with other stored numbers."""
        import SimpleITK

        # Its last axis is the first of the file. Otherwise four axes would be read as three and a vector.
        image = SimpleITK.GetImageFromArray(np.ascontiguousarray(stored.T), isVector=False)
        image.CopyInformation(self.image)
        for key in self.image.GetMetaDataKeys():
            if not key.startswith("ITK_"):  # metadata added by the reader
                image.SetMetaData(key, self.image.GetMetaData(key))
        SimpleITK.WriteImage(image, str(path), useCompression=self.compressed)

    def save_map(self, path: Path, values: NDArray[np.float32]) -> None:
        """Write a file on the same grid that holds values of another meaning, as float32."""
        self.save(path, values)


def read_itk(path: Path) -> ItkVolume:
    """Read a NRRD or MetaImage file of one volume, or of volumes over time.

    Parameters
    ----------
    path : path
        A ``.nrrd``, ``.mha`` or ``.mhd`` file.

    Returns
    -------
    ItkVolume

    Raises
    ------
    VolumeError
        If the file cannot be read, does not fit into memory, or does not hold volumes of real numbers.
    NSN2NError
        If SimpleITK is not installed, or memory runs out.
    """
    try:
        import SimpleITK
    except ModuleNotFoundError as error:
        raise NSN2NError(
            f"{path} needs the package SimpleITK, which is not installed: pip install 'nsn2n[files]'."
        ) from error
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    if not path.is_file():
        raise VolumeError(f"{path} must be an existing file; it does not exist. Check the path.")
    with memory_errors(path.name):
        try:
            with path.open("rb") as file:
                compressed = _COMPRESSED.search(file.read(_HEAD_BYTES)) is not None
            reader.ReadImageInformation()
            _check(reader, path)
            image = reader.Execute()
        except (OSError, RuntimeError) as error:
            # ITK's message has several lines; the last ones contain the reason.
            reason = " ".join(str(error).split()).rpartition("ITK ERROR: ")[2]
            raise VolumeError(f"{path} cannot be read: {reason.rstrip('.')}. Check or replace the file.") from error
        return _volume(image, compressed, path)


def _check(reader: Any, path: Path) -> None:
    """Refuse by its header what is not a volume of gray values, or too large."""
    shape = reader.GetSize()
    if len(shape) not in (3, 4) or max(shape[:3]) == 1:
        raise VolumeError(
            f"{path} must hold a volume, or volumes over time; its shape is {shape}. Join the slices to one 3D file."
        )
    channels = reader.GetNumberOfComponents()
    if channels != 1:
        raise VolumeError(
            f"{path} must hold one gray value at each voxel; it holds {channels} numbers. Split it into one file per "
            "channel."
        )
    voxels = math.prod(shape)
    shortage = find_room(
        voxels, math.prod(shape[:3]), of_slice=math.prod(shape[:3]) // min(shape[:3]), beside=3 * 8 * voxels
    )
    if shortage is not None:
        raise VolumeError(
            f"{path} must fit into memory; its {' x '.join(map(str, shape))} voxels {shortage.found}. {shortage.advice}"
        )


def _volume(image: Any, compressed: bool, path: Path) -> ItkVolume:
    import SimpleITK

    array = SimpleITK.GetArrayFromImage(image).T
    if array.dtype.kind not in "iuf":
        raise VolumeError(f"{path} must hold real numbers; it holds {array.dtype}. Convert it to gray values.")
    axes_of_space = slice(0, 3)
    spacing = [float(one) for one in image.GetSpacing()[axes_of_space]]
    direction = np.reshape(image.GetDirection(), (image.GetDimension(),) * 2)[axes_of_space, axes_of_space]
    affine = np.eye(4)
    affine[:3, :3] = direction * spacing
    affine[:3, 3] = image.GetOrigin()[axes_of_space]
    d, h, w = slices_first(spacing)
    numbers = StoredNumbers(array, (d, h, w)).with_offset(path)
    stack = numbers.stack(path, (spacing[d], spacing[h], spacing[w]))
    return ItkVolume(stack=stack, numbers=numbers, affine=_LPS_TO_RAS @ affine, image=image, compressed=compressed)
