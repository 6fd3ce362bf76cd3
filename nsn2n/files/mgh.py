# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""FreeSurfer's MGH files in and out, plain (.mgh) or compressed (.mgz).

Source: https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/MghFormat. What precedes and follows the voxels, such
as the history of commands, is copied byte for byte: nibabel would drop it.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from nsn2n.errors import VolumeError
from nsn2n.files.file_volume import FileVolume
from nsn2n.files.stored_numbers import StoredNumbers
from nsn2n.runtime.memory import find_room, memory_errors
from nsn2n.stack.slice_axis import slices_first

__all__ = ["MghVolume", "read_mgh"]

_HEADER_BYTES = 284
_MOST_BYTES_BEHIND_VOXELS = 1 << 24
_TYPE_AT, _FLOAT = 20, 3
_DTYPES = {0: ">u1", 1: ">i4", _FLOAT: ">f4", 4: ">i2"}
"""By the code in the header."""


@dataclass(frozen=True, eq=False, kw_only=True)
class MghVolume(FileVolume):
    """A volume read from an MGH file, and what is needed to write another one like it."""

    before: bytes
    """Everything before the voxels."""
    behind: bytes

    def save(self, path: Path, stored: NDArray[Any]) -> None:
        """Write a file like the one that was read, with other stored numbers."""
        self._write(path, self.before, stored.astype(self.numbers.array.dtype, copy=False))

    def save_map(self, path: Path, values: NDArray[np.float32]) -> None:
        """Write a file on the same grid that holds values of another meaning, as float32."""
        code = struct.pack(">i", _FLOAT)
        before = self.before[:_TYPE_AT] + code + self.before[_TYPE_AT + len(code) :]
        self._write(path, before, values.astype(_DTYPES[_FLOAT]))

    def _write(self, path: Path, before: bytes, stored: NDArray[Any]) -> None:
        content = b"".join((before, stored.tobytes(order="F"), self.behind))
        # No timestamp in the compressed file: the same voxels give the same bytes.
        path.write_bytes(gzip.compress(content, mtime=0) if path.name.endswith(".mgz") else content)


def read_mgh(path: Path) -> MghVolume:
    """Read an MGH file of one volume, or of several (frames).

    Parameters
    ----------
    path : path
        A ``.mgz`` or ``.mgh`` file.

    Returns
    -------
    MghVolume

    Raises
    ------
    VolumeError
        If the file cannot be read, declares more than it holds or than fits into memory, or is not a volume.
    NSN2NError
        If memory runs out nevertheless.
    """
    with memory_errors(path.name):
        try:
            return _read(path)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or " ".join(str(error).split()) or type(error).__name__
            raise _unreadable(path, reason) from error


def _read(path: Path) -> MghVolume:
    zipped = path.name.endswith(".mgz")
    with cast(IO[bytes], gzip.open(path) if zipped else path.open("rb")) as file:
        before = file.read(_HEADER_BYTES)
        shape, dtype = _promise(before, path)
        voxel_bytes = math.prod(shape) * dtype.itemsize
        shortage = find_room(
            math.prod(shape),
            math.prod(shape[:3]),
            of_slice=math.prod(shape[:3]) // min(shape[:3]),
            beside=2 * voxel_bytes,
        )
        if shortage is not None:
            raise VolumeError(
                f"{path} must fit into memory; its {' x '.join(map(str, shape))} voxels {shortage.found}. "
                f"{shortage.advice}"
            )
        voxels = file.read(voxel_bytes)
        if len(voxels) < voxel_bytes:
            raise _unreadable(path, f"its header declares {voxel_bytes} bytes of voxels; there are {len(voxels)}")
        behind = file.read(_MOST_BYTES_BEHIND_VOXELS + 1)
    if len(behind) > _MOST_BYTES_BEHIND_VOXELS:
        raise _unreadable(path, f"there must be at most {_MOST_BYTES_BEHIND_VOXELS} bytes after the voxels")
    array = np.frombuffer(voxels, dtype).reshape(shape, order="F")
    header = nib.MGHImage.header_class(before, check=False)
    affine = np.asarray(header.get_affine(), np.float64)
    spacing = [float(one) for one in nib.affines.voxel_sizes(affine)]
    if not all(math.isfinite(one) and one > 0 for one in spacing):
        raise VolumeError(f"{path} must have a positive spacing on each axis; got {spacing}. Correct its header.")
    d, h, w = slices_first(spacing)
    numbers = StoredNumbers(array, (d, h, w)).with_offset(path)
    stack = numbers.stack(path, (spacing[d], spacing[h], spacing[w]))
    return MghVolume(stack=stack, numbers=numbers, affine=affine, before=before, behind=behind)


def _promise(header: bytes, path: Path) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Return shape and type of the voxels declared by a header."""
    if len(header) < _HEADER_BYTES:
        raise _unreadable(path, f"its header must have {_HEADER_BYTES} bytes; it has {len(header)}")
    version, *lengths, code = struct.unpack(">6i", header[:24])
    if version != 1:
        raise _unreadable(path, f"its version must be 1; it is {version}")
    if code not in _DTYPES:
        raise _unreadable(path, f"its type code {code} is not one of gray values")
    if min(lengths) < 1:
        raise _unreadable(path, f"its axes must be of positive length; they are {lengths}")
    *space, frames = lengths
    if max(space) == 1:
        raise VolumeError(f"{path} must hold a volume; its shape is {tuple(space)}. Use a file with several slices.")
    return tuple(lengths) if frames > 1 else tuple(space), np.dtype(_DTYPES[code])


def _unreadable(path: Path, reason: str) -> VolumeError:
    return VolumeError(f"{path} cannot be read as MGH: {reason}. Check or replace the file.")
