# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Checks before a file is read as NIfTI: its type, and whether its bytes and the memory are sufficient.

A header can declare more than the file holds, and a few kilobytes can inflate to more than any memory. Nothing is
allocated here for voxels; of a compressed file all bytes are inflated once, piece by piece.
"""

from __future__ import annotations

import gzip
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from nsn2n.errors import VolumeError
from nsn2n.files import NIFTI_SUFFIXES
from nsn2n.runtime.memory import find_room

__all__ = ["check_nifti", "checked_nifti_name"]

CHUNK_BYTES = 1 << 20

MOST_BYTES_BEFORE_VOXELS = 1 << 28
"""Header and extensions; the longest known ones hold a few megabytes of XML."""

MOST_BYTES_BEHIND_VOXELS = 1 << 24
"""Bytes after the voxels that are also inflated, since the checksum is at the end."""

_BY_NIBABEL = "Convert it: python -c \"import nibabel as nib; nib.save(nib.load('{name}'), '{stem}.nii.gz')\"."
_BY_ITK = "Convert it: python -c \"import SimpleITK as itk; itk.WriteImage(itk.ReadImage('{name}'), '{stem}.nii.gz')\"."
_OTHER_FORMATS: Mapping[str, tuple[str, str]] = {
    ".hdr": ("one of a pair of files", _BY_NIBABEL),
    ".img": ("one of a pair of files", _BY_NIBABEL),
    ".hdr.gz": ("one of a pair of files", _BY_NIBABEL),
    ".img.gz": ("one of a pair of files", _BY_NIBABEL),
    ".mgz": ("a file of FreeSurfer", _BY_NIBABEL),
    ".mgh": ("a file of FreeSurfer", _BY_NIBABEL),
    ".nii.zst": ("compressed by zstd", "Decompress it: zstd -d {name}."),
    ".nii.bz2": ("compressed by bzip2", "Decompress it: bunzip2 -k {name}."),
    ".nii.xz": ("compressed by xz", "Decompress it: unxz -k {name}."),
    ".nrrd": ("NRRD", _BY_ITK),
    ".nhdr": ("NRRD", _BY_ITK),
    ".mha": ("MetaImage", _BY_ITK),
    ".mhd": ("MetaImage", _BY_ITK),
    ".mnc": ("MINC", _BY_NIBABEL),
    ".dcm": ("DICOM", "Name the folder that holds the series."),
}
"""Other suffixes, and what to do about them."""

_TENSORS = {1005: "a symmetric matrix", 1006: "a displacement", 1007: "a vector", 2003: "a color", 2004: "a color"}
"""Intent codes of values that are several numbers at each voxel."""


@dataclass(frozen=True)
class _Promise:
    """What a header declares about its file."""

    byte_order: str
    header_bytes: int
    shape: tuple[int, ...]
    item_bytes: int
    offset: int
    """Offset of the voxels."""

    @property
    def voxels(self) -> int:
        return math.prod(self.shape)

    @property
    def end(self) -> int:
        return self.offset + self.voxels * self.item_bytes


def checked_nifti_name(path: Path, accepted: Sequence[str] = NIFTI_SUFFIXES) -> Path:
    """Return a path whose name is that of a NIfTI file, or ends in one of the accepted suffixes.

    Raises
    ------
    VolumeError
        If it is not one, with advice on how to convert other kinds of files.
    """
    name, endings = path.name.lower(), f"{', '.join(accepted[:-1])} or {accepted[-1]}"
    if path.name.endswith(tuple(accepted)):
        return path
    for suffix in sorted(_OTHER_FORMATS, key=len, reverse=True):
        if name.endswith(suffix):
            what, todo = _OTHER_FORMATS[suffix]
            advice = todo.format(name=path.name, stem=path.name[: -len(suffix)])
            raise VolumeError(f"The input must be a single {endings} file; {path} is {what}. {advice}")
    raise VolumeError(f"The name of the file must end in {endings}; got {path}. Rename or convert it.")


def check_nifti(path: Path) -> None:
    """Refuse what is not a NIfTI file of gray-value volumes, or declares more than it holds or than fits into memory.

    Parameters
    ----------
    path : path
        With a name of a NIfTI file.

    Raises
    ------
    VolumeError
        Naming the file, in one line.
    OSError, EOFError, zlib.error
        If it cannot be read or inflated.
    """
    if path.exists() and not path.is_file():
        raise VolumeError(f"{path} must be a file; it is a folder, a device or a pipe. Name a file.")
    zipped = path.name.endswith(".gz")
    with cast(IO[bytes], gzip.open(path) if zipped else path.open("rb")) as file:
        promise = _promise(file, path)
        if not zipped:
            _require_bytes(promise.end, path.stat().st_size, path)
        _check_memory(promise, path)
        if zipped:
            _require_bytes(promise.end, _inflated_bytes(file, promise.end + MOST_BYTES_BEHIND_VOXELS), path)
        _check_extensions(file, promise, path)


def _promise(file: IO[bytes], path: Path) -> _Promise:
    """Read the header; the file is then positioned after it."""
    start = file.read(4)
    if start[:2] == b"\x1f\x8b":
        raise VolumeError(
            f"{path} must not be compressed according to its name; it is gzip-compressed. Rename it to {path.name}.gz."
        )
    kinds = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
    sizes = {"<": int.from_bytes(start, "little"), ">": int.from_bytes(start, "big")}
    byte_order = next((one for one, size in sizes.items() if len(start) == 4 and size in kinds), None)
    if byte_order is None:
        raise _unreadable(path, "it does not start with the size of a header, 348 or 540")
    size = sizes[byte_order]
    block = start + file.read(size - 4)
    if len(block) < size:
        raise _unreadable(path, f"its header must have {size} bytes; it has {len(block)}")
    header: nib.Nifti1Header = kinds[size](block, byte_order, check=False)  # type: ignore[no-untyped-call]
    magic = bytes(block[344:348] if size == 348 else block[4:8])
    if magic in (b"ni1\0", b"ni2\0"):
        raise VolumeError(
            f"{path} must hold header and voxels; according to its header the voxels are in an .img file. "
            "Join both to one .nii file."
        )
    if magic not in (b"n+1\0", b"n+2\0"):
        raise _unreadable(path, "its header has no NIfTI magic")
    shape = _checked_shape(header, path)
    return _Promise(byte_order, size, shape, _checked_item_bytes(header, path), _checked_offset(header, size, path))


def _checked_item_bytes(header: nib.Nifti1Header, path: Path) -> int:
    try:
        dtype = np.dtype(header.get_data_dtype())
    except (HeaderDataError, KeyError, TypeError) as error:
        raise _unreadable(path, f"its datatype code {int(header['datatype'])} is unknown") from error
    if dtype.kind not in "iuf":
        what = "RGB colors" if dtype.fields else "complex numbers" if dtype.kind == "c" else f"the type {dtype}"
        raise VolumeError(
            f"{path} must hold real numbers; it holds {what} ({dtype}). Convert it to gray values, "
            "one file per channel."
        )
    intent = _TENSORS.get(int(header["intent_code"]))
    if intent is not None:
        raise VolumeError(
            f"{path} must hold one gray value at each voxel; according to its intent code it holds {intent}. "
            "Use images of gray values."
        )
    return int(dtype.itemsize)


def _checked_shape(header: nib.Nifti1Header, path: Path) -> tuple[int, ...]:
    """Return the lengths of the axes: three of space, then time, then others of length 1."""
    lengths = [int(length) for length in header["dim"]]
    if not 1 <= lengths[0] <= 7 or any(length < 1 for length in lengths[1 : lengths[0] + 1]):
        raise _unreadable(path, f"its axes must be 1 to 7 of positive length; dim is {lengths}")
    shape = tuple(lengths[1 : lengths[0] + 1])
    if len(shape) < 3 or max(shape[:3]) == 1:
        raise VolumeError(
            f"{path} must hold a volume, or volumes over time; its shape is {shape}, a single slice. "
            "Join the slices to one 3D file: the method trains on neighbors."
        )
    if any(length != 1 for length in shape[4:]):
        raise VolumeError(
            f"{path} must hold a volume, or volumes over time; its shape is {shape}. "
            "Extract one channel, or split it into files of 3 or 4 axes."
        )
    return shape


def _checked_offset(header: nib.Nifti1Header, size: int, path: Path) -> int:
    declared = float(header["vox_offset"])
    least = size + 4  # extensions, or the marker for none
    offset = least if declared == 0 else declared
    if not (math.isfinite(offset) and least <= offset <= MOST_BYTES_BEFORE_VOXELS and offset == int(offset)):
        raise _unreadable(
            path, f"voxels must begin at byte {least} to {MOST_BYTES_BEFORE_VOXELS}; vox_offset is {declared}"
        )
    return int(offset)


def _check_memory(promise: _Promise, path: Path) -> None:
    stored = promise.voxels * promise.item_bytes
    # Two copies of the stored numbers: those that were read, and those that are written.
    shortage = find_room(
        promise.voxels,
        math.prod(promise.shape[:3]),
        of_slice=math.prod(promise.shape[:3]) // min(promise.shape[:3]),
        beside=2 * stored + promise.offset,
    )
    if shortage is not None:
        raise VolumeError(
            f"{path} must fit into memory; its {' x '.join(map(str, promise.shape))} voxels {shortage.found}. "
            f"{shortage.advice}"
        )


def _inflated_bytes(file: IO[bytes], most: int) -> int:
    """Return the inflated length of a compressed file, from its start; not counted beyond `most`."""
    while file.tell() < most and file.read(CHUNK_BYTES):
        pass
    return file.tell()


def _require_bytes(needed: int, found: int, path: Path) -> None:
    if found < needed:
        raise _unreadable(path, f"its header declares {needed} bytes; there are {found}")


def _check_extensions(file: IO[bytes], promise: _Promise, path: Path) -> None:
    """Refuse extensions that reach into the voxels, or have no length: everything after such a one would be read."""
    place = promise.header_bytes + 4
    file.seek(promise.header_bytes)
    if not file.read(4)[0]:
        return
    while promise.offset - place >= 16:
        file.seek(place)
        length, _ = struct.unpack(f"{promise.byte_order}ii", file.read(8))
        if not 8 <= length <= promise.offset - place:
            raise _unreadable(path, f"an extension at byte {place} must end before the voxels; its length is {length}")
        place += length


def _unreadable(path: Path, reason: str) -> VolumeError:
    return VolumeError(f"{path} cannot be read as NIfTI: {reason}. Check or replace the file.")
