# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Folders whose content is not complete yet: hidden, known to the process, and removed unless renamed.

The process holds a lock on each of its folders, which the system takes back however the process ends. So a later one
tells those that nobody works on any more, and removes them, also across containers that share a volume.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["PREFIX", "hidden_folder", "remove_abandoned", "unfinished_folders"]

logger = logging.getLogger(__name__)

PREFIX = ".nsn2n-"

_unfinished: set[Path] = set()


@contextmanager
def hidden_folder(parent: Path, label: Callable[[], str] = str) -> Iterator[Path]:
    """Make a new folder that is gone afterwards, with all it holds, unless it was renamed.

    Parameters
    ----------
    parent : path
        An existing folder.
    label : callable
        Gives a part of the name. While it is called no other process makes a hidden folder in `parent`.

    Yields
    ------
    path
    """
    hidden, descriptor = parent, None
    try:
        with _locked(parent):
            hidden = parent.absolute() / f"{PREFIX}{label()}{uuid.uuid4().hex}"
            _unfinished.add(hidden)
            hidden.mkdir()
            descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY)
            _lock(descriptor, wait=True)  # nobody takes it for abandoned
        yield hidden
    finally:
        if hidden in _unfinished:
            shutil.rmtree(hidden, ignore_errors=True)
            _unfinished.discard(hidden)
        if descriptor is not None:
            os.close(descriptor)


def unfinished_folders() -> tuple[Path, ...]:
    """Name the folders that would be left behind if the process ended now."""
    return tuple(_unfinished)


def remove_abandoned(parent: Path) -> None:
    """Remove the hidden folders of processes that are gone; one that cannot be removed stays, and is no error."""
    with suppress(OSError), _locked(parent):
        for hidden in sorted(parent.glob(f"{PREFIX}*")):
            descriptor = os.open(hidden, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if _lock(descriptor, wait=False):
                    shutil.rmtree(hidden)
                    logger.info("removed %s, which a run that was stopped had left", hidden)
            finally:
                os.close(descriptor)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep other processes that ask for it out of a folder. They wait, so for moments only."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> bool:
    """Lock an open folder; False if another process has it, or the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
