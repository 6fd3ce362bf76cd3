# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Folders whose content is not complete yet: hidden, known to the process, and removed unless renamed.

The process holds a lock on each of its folders, which the system takes back however the process ends. So a later one
tells those that nobody works on any more, and removes them, also across containers that share a volume. Windows opens
no folders, and so locks none: there what a killed run left stays, as on a file system without locks.
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
"""For the lock of a folder, which others hold for moments only."""

_POLL_S = 0.05

_unfinished: set[Path] = set()


@contextmanager
def hidden_folder(parent: Path, label: Callable[[], str] = str) -> Iterator[Path]:
    """Make a new folder, its owner's alone, that is gone afterwards, with all it holds, unless it was renamed.

    Parameters
    ----------
    parent : path
        An existing folder.
    label : callable
        Gives a part of the name. While it is called no other process makes a hidden folder in `parent`.

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
            _lock(descriptor)  # nobody takes it for abandoned
        yield hidden
    finally:
        if hidden in _unfinished:
            shutil.rmtree(hidden, ignore_errors=True)
            _unfinished.discard(hidden)
        _close(descriptor)


def unfinished_folders() -> tuple[Path, ...]:
    """Name the folders that would be left behind if the process ended now."""
    return tuple(_unfinished)


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders of processes that are gone.

    What cannot be removed stays, and is no error; so do files, pipes and links of such a name.

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
            logger.info("removed %s, which a run that was stopped had left", hidden)
    finally:
        _close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for it out of a folder. They wait, so for moments only."""
    descriptor = _opened(folder, follow=True)
    try:
        end = time.monotonic() + WAIT_S
        while _lock(descriptor) is False:
            if time.monotonic() >= end:
                raise NSN2NError(
                    f"the output folder must be free for a moment; another process has kept {folder} locked for "
                    f"{WAIT_S:.0f} s. End that process, or choose another folder."
                )
            time.sleep(_POLL_S)
        yield
    finally:
        _close(descriptor)


def _opened(folder: Path, *, follow: bool = False) -> int | None:
    """Open a folder, a link to one only if asked for; None where the system opens none."""
    if not _HAS_LOCKS:
        return None
    return os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW))


def _close(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _lock(descriptor: int | None) -> bool | None:
    """Lock an open folder; False if another process has it, None if the file system knows no locks."""
    if descriptor is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True
