# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Folders whose content is not complete yet: hidden, known to the process, and removed unless renamed.

The process holds a lock on each of its folders, which the system releases however the process ends. So a later one
recognizes abandoned folders and removes them, even across containers that share a volume. Windows cannot open or lock
folders: there leftovers of a killed run remain, as on a file system without locks.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from nsn2n.errors import NSN2NError

try:
    import fcntl
except ImportError:  # Windows
    _HAS_LOCKS = False
else:
    _HAS_LOCKS = True

__all__ = ["PREFIX", "hidden_folder", "remove_abandoned", "unfinished_folders"]

logger = logging.getLogger(__name__)

PREFIX = ".nsn2n-"

WAIT_S = 30.0
"""Timeout for the lock of a folder, which others hold only for moments."""

_POLL_S = 0.05

_unfinished: set[Path] = set()


@contextmanager
def hidden_folder(parent: Path, label: Callable[[], str] = str) -> Iterator[Path]:
    """Create a folder, accessible only to its owner, that is removed afterwards with its content unless it was renamed.

    Parameters
    ----------
    parent : path
        An existing folder.
    label : callable
        Returns a part of the name. While it is called no other process creates a hidden folder in `parent`.

    Yields
    ------
    path

    Raises
    ------
    NSN2NError
        If another process keeps `parent` locked.
    """
    hidden, descriptor = parent, None
    try:
        with _locked(parent):
            hidden = parent.absolute() / f"{PREFIX}{label()}{uuid.uuid4().hex}"
            _unfinished.add(hidden)
            hidden.mkdir(mode=0o700)
            descriptor = _opened(hidden)
            _lock(descriptor)  # no other process considers it abandoned
        yield hidden
    finally:
        if hidden in _unfinished:
            shutil.rmtree(hidden, ignore_errors=True)
            _unfinished.discard(hidden)
        _close(descriptor)


def unfinished_folders() -> tuple[Path, ...]:
    """Return the folders that would be left behind if the process ended now."""
    return tuple(_unfinished)


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders of processes that are gone.

    What cannot be removed is left without an error, as are files, pipes and links with such a name.

    Raises
    ------
    NSN2NError
        If another process keeps `parent` locked.
    """
    with suppress(OSError), _locked(parent):
        for hidden in sorted(parent.glob(f"{PREFIX}*")):
            with suppress(OSError):
                _remove_if_abandoned(hidden)


def _remove_if_abandoned(hidden: Path) -> None:
    descriptor = _opened(hidden)
    try:
        if _lock(descriptor):
            shutil.rmtree(hidden)
            logger.info("removed %s, left over from an interrupted run", hidden)
    finally:
        _close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that lock it. They wait, so hold it only for moments."""
    descriptor = _opened(folder, follow=True)
    try:
        end = time.monotonic() + WAIT_S
        while _lock(descriptor) is False:
            if time.monotonic() >= end:
                raise NSN2NError(
                    f"the output folder must be free for a moment; another process has held the lock of {folder} for "
                    f"{WAIT_S:.0f} s. End that process, or choose another folder."
                )
            time.sleep(_POLL_S)
        yield
    finally:
        _close(descriptor)


def _opened(folder: Path, *, follow: bool = False) -> int | None:
    """Open a folder, a link to one only if requested; None if the system cannot open folders."""
    if not _HAS_LOCKS:
        return None
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _lock(descriptor: int | None) -> bool | None:
    """Lock an open folder; False if another process has it, None if the file system does not support locks."""
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
