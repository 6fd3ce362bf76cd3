# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Who may read what is written: nobody who may not read what it was made of.

New files have the mode that the umask leaves; bits are only taken away. Where a file system knows no modes, nothing
happens.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["limit_mode", "limit_modes_in", "mode_of_all"]


def mode_of_all(sources: Iterable[Path]) -> int:
    """Bits to read and write that all files have; their reader stays able to read what is made of them."""
    mode = 0o666
    for source in dict.fromkeys(sources):
        try:
            mode &= source.stat().st_mode
        except OSError:  # gone since it was read
            mode &= 0o600
    return mode | stat.S_IRUSR


def limit_mode(file: Path, mode: int) -> None:
    """Take from a new file the permissions that are not in a mode."""
    with suppress(OSError):
        file.chmod(stat.S_IMODE(file.stat().st_mode) & mode)


def limit_modes_in(folder: Path, sources: Iterable[Path]) -> None:
    """Open a new folder, so far only its owner's, to those who may read its files, and them to readers of the sources.

    Parameters
    ----------
    folder : path
        Holds new files.
    sources : iterable of path
        What they were made of.
    """
    files = list(folder.iterdir())
    allowed = mode_of_all(sources)
    for file in files:
        limit_mode(file, allowed)
    shared = mode_of_all(files)
    with suppress(OSError):
        # Who reads a file must enter its folder. Its owner can remove it, even where files are for reading only.
        permissions = stat.S_IRWXU | shared | (shared & 0o444) >> 2
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) & ~0o777 | permissions)
