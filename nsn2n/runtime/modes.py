# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Permissions of new files: nobody may read them who may not read their sources.

New files have the mode that the umask leaves; bits are only removed. On a file system without modes, nothing
happens.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["limit_mode", "limit_modes_in", "mode_of_all"]


def mode_of_all(sources: Iterable[Path]) -> int:
    """Return the read and write bits that all files have; their readers can also read what is derived from them."""
    mode = 0o666
    for source in dict.fromkeys(sources):
        try:
            mode &= source.stat().st_mode
        except OSError:  # gone since it was read
            mode &= 0o600
    return mode | stat.S_IRUSR


def limit_mode(file: Path, mode: int) -> None:
    """Remove from a new file the permissions that are not in a mode."""
    with suppress(OSError):
        file.chmod(stat.S_IMODE(file.stat().st_mode) & mode)


def limit_modes_in(folder: Path, sources: Iterable[Path]) -> None:
    """Open a new folder, so far only its owner's, to those who may read its files, and them to readers of the sources.

    Parameters
    ----------
    folder : path
        Holds new files.
    sources : iterable of path
        The files they were derived from.
    """
    files = list(folder.iterdir())
    allowed = mode_of_all(sources)
    for file in files:
        limit_mode(file, allowed)
    shared = mode_of_all(files)
    with suppress(OSError):
        # Readers of a file must be able to enter its folder. Its owner can remove it, even if files are read-only.
        permissions = stat.S_IRWXU | shared | (shared & 0o444) >> 2
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~0o777 | permissions)
