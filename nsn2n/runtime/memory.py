# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Lack of memory, reported in one line: before allocation if it can be predicted, otherwise when it runs out."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nsn2n.errors import NSN2NError
from nsn2n.runtime.cpus import usable_cpus
from nsn2n.runtime.volumes import Room, current_room, keep_in_files

try:
    import resource
except ImportError:  # Windows
    _HAS_LIMITS = False
else:
    _HAS_LIMITS = True

__all__ = ["Shortage", "available_bytes", "find_room", "memory_errors", "parts_at_once", "process_bytes"]

SIGNS = (
    *("can't allocate memory", "out of memory", "not enough memory", "can't start new thread"),
    "could not create a primitive",
)
"""Messages of PyTorch and Python in a RuntimeError when the system has no more memory. The last is oneDNN's, for
convolutions: with the shapes used here only lack of memory causes it."""

HELD_BYTES_PER_VOXEL = 13
"""For all parts: the values, the denoised ones and the noise as float32, and the mask."""

WORK_BYTES_PER_VOXEL = 10
"""For the part being denoised, if it is the only one: the values with padding filled, and what stages keep."""

RESULT_BYTES_PER_VOXEL = 8
"""In addition for one of several parts: its result is held next to the whole before it is copied there."""

LIBRARY_BYTES, FIT_BYTES, THREAD_BYTES = 250 << 20, 190 << 20, 70 << 20
"""PyTorch, if it is not loaded yet; what a fit needs for any volume; and each thread except the first.

Peaks of `nsn2n denoise` for 60 and 120 slices of 512 x 512 (one thread, 110 MiB before the volume is read): CT 814 and
1081 MiB, MR 752 and 1023 MiB, 18 bytes per voxel; NIfTI of float32 with NaN in a quarter of the voxels 876 and 1281
MiB, 27 bytes per voxel, 4 of which are the stored numbers; of int16 in four volumes over time 794 and 1087 MiB, 20
bytes per voxel of all, 2 of which are those.
"""

FILE_BYTES_PER_VOXEL = 32
"""Of all files in which volumes are kept at the same time, with one part."""

BLOCK_BYTES_PER_VOXEL = 0.5
"""In memory even then: figures of blocks, and headers."""

SLICES_BYTES, SLICES_THREAD_BYTES = 270 << 20, 110 << 20
"""The same for the fit and the slices in work, and for each thread; more where slices have more pixels than this."""
_USUAL_SLICE = 512 * 512
"""Peaks of MR of 24 x 512 x 512, which needs most: 463 MiB in addition to libraries with two threads, 686 with four; of
1024 x 1024 pixels CT needs 1.5 times as much as of 512 x 512."""

PROCESS_BYTES = 110 << 20
"""Memory of a process before it reads the volume."""

_PARTS_AT_ONCE = 4
"""Threads that apply a network or filter groups of blocks, whatever the memory,"""
_SHARE_OF_MORE = 0.25
"""and the share of the memory which is then still there that more of them may take."""

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn a lack of memory in the block into an `NSN2NError` that names what was being processed.

    Parameters
    ----------
    what : str
        For the message: the label of a series, or a file.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error).lower() for sign in SIGNS):
            raise
        raise NSN2NError(
            f"there must be enough memory for a whole volume; it ran out [{what}]. "
            "Give the process more, or end other programs."
        ) from error


class Shortage(NamedTuple):
    """Why a volume cannot be processed."""

    found: str
    """``need 3.1 GiB, 2.0 GiB are available``."""
    advice: str
    """What to do, as a sentence."""


def find_room(
    voxels: int, largest_part: int | None = None, *, of_slice: int = 0, beside: int = 0, beside_files: int = 0
) -> Shortage | None:
    """Return why there is no memory for a volume; None if there is, or that is not known.

    With a memory limit (:func:`nsn2n.runtime.volumes.memory_limit`) it is decided here, once, whether volumes are kept
    in files: if the volume would not fit otherwise.

    Parameters
    ----------
    voxels : int
        Of the whole volume.
    largest_part : int, optional
        Voxels of the largest part that is denoised separately; all by default.
    of_slice : int
        Voxels of a slice; up to 512 x 512 by default.
    beside : int
        Bytes needed in memory in addition to the volume, such as the stored numbers of a file.
    beside_files : int
        Bytes needed in memory if volumes are kept in files; if they are not, this takes the place of what the
        denoising needed before.

    Raises
    ------
    NSN2NError
        If volumes are to be kept in files, for which there is no space.
    """
    room = current_room()
    if room is not None and room.in_files is not None:
        return None
    threads = min(usable_cpus(), _PARTS_AT_ONCE)
    library = 0 if "torch" in sys.modules else LIBRARY_BYTES
    needed = _needed(voxels, largest_part, threads) + library + beside
    available = available_bytes()
    if available is None or needed <= available:
        if room is not None:
            room.in_files = False
        return None
    least = _needed_with_files(voxels, threads, of_slice) + library + beside + beside_files
    if room is None or least > available:
        return _shortage(needed, least, available, room)
    files, of_addresses = _file_bytes(voxels, largest_part), _of_address_space()
    if of_addresses is not None and least + files > of_addresses:
        return Shortage(
            f"need {(least + files) / 2**30:.1f} GiB of address space, {of_addresses / 2**30:.1f} GiB are left",
            "Raise the limit of it (ulimit -v); --memory limits the memory.",
        )
    keep_in_files(room, files)
    return None


def _shortage(needed: int, least: int, available: int, room: Room | None) -> Shortage:
    left = f"{available / 2**30:.1f} GiB are available"
    if least > available and room is not None:
        return Shortage(
            f"need {min(needed, least) / 2**30:.1f} GiB even if volumes are kept in files, {left}",
            f"Raise the memory limit (--memory), now {room.limit / 2**30:.1f} GiB, or end other programs.",
        )
    found, larger = f"need {needed / 2**30:.1f} GiB, {left}", "a machine with more memory, or fewer slices"
    if least + PROCESS_BYTES > available:  # the limit would include what this process holds
        return Shortage(found, f"Use {larger}.")
    return Shortage(found, f"Keep the volume in temporary files (--memory {available >> 20}M), or use {larger}.")


def _needed_with_files(voxels: int, threads: int, of_slice: int = 0) -> int:
    """Bytes in memory if volumes are in files, in a process that has PyTorch."""
    in_work = (SLICES_BYTES + threads * SLICES_THREAD_BYTES) * max(1.0, of_slice / _USUAL_SLICE)
    return int(in_work + voxels * BLOCK_BYTES_PER_VOXEL)


def _file_bytes(voxels: int, largest_part: int | None) -> int:
    several = largest_part is not None and largest_part < voxels
    return voxels * (FILE_BYTES_PER_VOXEL + (RESULT_BYTES_PER_VOXEL if several else 0))


def process_bytes(voxels: int, threads: int = 1) -> int:
    """Return the memory of a process that denoises a volume, including all that it loads.

    Parameters
    ----------
    voxels : int
        Of the whole volume, which is treated as one part.
    threads : int
        That the process uses.
    """
    return PROCESS_BYTES + LIBRARY_BYTES + _needed(voxels, None, threads)


def _needed(voxels: int, largest_part: int | None, threads: int) -> int:
    """Bytes of a volume and of the fit, in a process that has PyTorch."""
    part = voxels if largest_part is None else largest_part
    of_part = WORK_BYTES_PER_VOXEL + (RESULT_BYTES_PER_VOXEL if part < voxels else 0)
    return voxels * HELD_BYTES_PER_VOXEL + part * of_part + FIT_BYTES + (threads - 1) * THREAD_BYTES


def parts_at_once() -> int:
    """Return how many threads may apply a network or filter groups of blocks, each with memory of its own."""
    return _PARTS_AT_ONCE + int(_SHARE_OF_MORE * (available_bytes() or 0)) // THREAD_BYTES


def available_bytes() -> int | None:
    """Return the memory that this process can still allocate without swapping; known only on Linux.

    Returns
    -------
    int or None
        The minimum of what the machine, the control groups (v1 and v2), the address space limit and the memory limit
        that applies here (:func:`nsn2n.runtime.volumes.memory_limit`) leave; cached files count as free. None if none
        of these is known.
    """
    limits = (_of_machine(), *_of_control_groups(), _of_address_space(), _of_memory_limit())
    left = [left for left in limits if left is not None]
    return max(0, min(left)) if left else None


def _of_machine() -> int | None:
    kibibytes = _table(PROC / "meminfo").get("MemAvailable")
    return None if kibibytes is None else kibibytes * 1024


def _of_control_groups() -> Iterator[int]:
    """Yield what each control group of the process leaves, and each parent group."""
    for line in _text(PROC / "self" / "cgroup").splitlines():
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if not controllers:
            names, root = ("memory.max", "memory.current", ""), CGROUPS
        elif "memory" in controllers.split(","):
            names, root = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), CGROUPS / "memory"
        else:
            continue
        # In a container the path may be that of the host, of which the container sees only the end, as root.
        group = root / path.strip("/")
        for folder in (group, *group.parents) if group != root else (root,):
            left = _of_control_group(folder, *names)
            if left is not None:
                yield left
            if folder == root:
                break


def _of_control_group(folder: Path, limit_name: str, usage_name: str, prefix: str) -> int | None:
    limit, usage = _text(folder / limit_name).strip(), _text(folder / usage_name).strip()
    if not (limit.isdigit() and usage.isdigit()):  # "max", or no such group
        return None
    counted = _table(folder / "memory.stat")
    cached = sum(counted.get(f"{prefix}{kind}_file", 0) for kind in ("active", "inactive"))
    return int(limit) - int(usage) + min(cached, int(usage))


def _of_address_space() -> int | None:
    if not _HAS_LIMITS:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    pages = _text(PROC / "self" / "statm").split()[:1]
    if limit == resource.RLIM_INFINITY or not pages:
        return None
    return limit - int(pages[0]) * resource.getpagesize()


def _of_memory_limit() -> int | None:
    room = current_room()
    if room is None:
        return None
    # Files that are mapped into memory, as libraries and volumes are, do not count.
    kibibytes = _table(PROC / "self" / "status").get("RssAnon")
    return room.limit - (PROCESS_BYTES if kibibytes is None else kibibytes * 1024)


def _table(file: Path) -> dict[str, int]:
    """Numbers by name, of a file with one of them in each line."""
    lines = (line.replace(":", " ").split() for line in _text(file).splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdigit()}


def _text(file: Path) -> str:
    """Return the content of a system file; empty if there is none."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
