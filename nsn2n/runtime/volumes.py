# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""New arrays of the size of a volume: in memory, or in temporary files where a memory limit leaves no room for them.

A file is mapped into memory. The system writes its pages to the disk and takes their memory whenever it needs that, and
reads them again when they are used. The values are the same, bit for bit. No file has a name: it disappears with its
array, or with the process, however that ends.
"""

from __future__ import annotations

import logging
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from nsn2n.errors import NSN2NError

__all__ = ["Room", "copied_volume", "current_room", "in_files", "keep_in_files", "memory_limit", "new_volume"]

logger = logging.getLogger(__name__)

_LEAST_BYTES = 4 << 20
"""Smaller arrays stay in memory."""

_IN_MEMORY = ("tmpfs", "ramfs")
"""File systems whose files are themselves in memory."""

MOUNTS = Path("/proc/self/mounts")


@dataclass
class Room:
    """A memory limit, and where volumes are kept within it."""

    limit: int
    """Bytes that the process may take."""
    in_files: bool | None = None
    """Whether volumes are kept in files; None until that is decided, for the largest volume, before it is read."""


_ROOM: ContextVar[Room | None] = ContextVar("room", default=None)


@contextmanager
def memory_limit(limit: int | None) -> Iterator[None]:
    """Limit the memory for the volume that is processed in the block, in this thread.

    Parameters
    ----------
    limit : int, optional
        In bytes. None: that of the block around, if there is one; a block inside of one with the same limit continues
        it.
    """
    around = _ROOM.get()
    if limit is None or (around is not None and around.limit == limit):
        yield
        return
    token = _ROOM.set(Room(limit))
    try:
        yield
    finally:
        _ROOM.reset(token)


def current_room() -> Room | None:
    """Return the memory limit that applies here; None: there is none."""
    return _ROOM.get()


def in_files() -> bool:
    """Whether large new arrays are made in files here."""
    room = _ROOM.get()
    return room is not None and bool(room.in_files)


def keep_in_files(room: Room, needed: int) -> None:
    """Decide that volumes are kept in files.

    Parameters
    ----------
    room : Room
    needed : int
        Bytes of all files that exist at the same time.

    Raises
    ------
    NSN2NError
        If the folder for temporary files has too little space, or is itself in memory.
    """
    folder = _folder()
    kind = _file_system(folder)
    if kind in _IN_MEMORY:
        raise NSN2NError(
            f"volumes beyond the memory limit must be kept in files on a disk; the folder for temporary files, "
            f"{folder}, is in memory ({kind}). Set TMPDIR to a folder on a disk."
        )
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise _no_space(folder, f"{needed / 2**30:.1f} GiB of free space; it has {free / 2**30:.1f} GiB")
    room.in_files = True
    logger.info("volumes are kept in temporary files in %s, up to %.1f GiB", folder, needed / 2**30)


def new_volume(shape: Sequence[int], dtype: DTypeLike) -> NDArray[Any]:
    """Return a new array, C-contiguous; its values are arbitrary.

    Parameters
    ----------
    shape : sequence of int
    dtype : dtype

    Raises
    ------
    NSN2NError
        If it is to be in a file, for which there is no space.
    """
    kind = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * kind.itemsize
    if size < _LEAST_BYTES or not in_files():
        return np.empty(shape, kind)
    folder = _folder()
    try:
        with tempfile.TemporaryFile(prefix="nsn2n-", dir=folder) as file:
            # Space is reserved now: if it ran out when a page is written, the system would end the process.
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            memory = mmap.mmap(file.fileno(), size)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise _no_space(folder, f"space for another {size / 2**30:.2f} GiB; got {reason}") from error
    in_file: NDArray[Any] = np.ndarray(tuple(shape), kind, memory)
    return in_file


def copied_volume(values: NDArray[Any]) -> NDArray[Any]:
    """Return a copy of an array, C-contiguous; errors as for :func:`new_volume`."""
    copy = new_volume(values.shape, values.dtype)
    copy[...] = values
    return copy


def _folder() -> Path:
    return Path(tempfile.gettempdir())


def _no_space(folder: Path, needed_and_found: str) -> NSN2NError:
    return NSN2NError(
        f"the folder for temporary files, {folder}, must have {needed_and_found}. Free some space, or set TMPDIR to a "
        "folder on another disk."
    )


def _file_system(folder: Path) -> str:
    """Return the type of the file system of a folder; empty if that is not known, as it is only on Linux."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    found, depth = "", -1
    for line in lines:
        _, mounted, kind = [*line.split(" ", 3), "", ""][:3]
        # A blank in a path is written as an octal number.
        root = Path(mounted.replace("\\040", " "))
        if place.is_relative_to(root) and len(root.parts) >= depth:
            found, depth = kind, len(root.parts)
    return found
