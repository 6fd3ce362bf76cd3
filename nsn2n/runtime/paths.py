# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at where input lies and results are to go before minutes are spent on making them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from nsn2n.errors import NSN2NError

__all__ = ["require_possible_path", "require_writable_folder"]

_SHOWN = 40
"""Characters of a name that is too long."""


def require_possible_path(path: Path) -> None:
    """Refuse a path that is too long for the file system, as a whole or by one of its names.

    Raises
    ------
    NSN2NError
        Before `Path.exists` and its like raise an OSError.
    """
    absolute = path.absolute()
    existing = _existing(absolute)
    # A name below a folder that is not there yet would not be looked at.
    missing = absolute.parts[len(existing.parts) :]
    for name, place in [*((name, existing / name) for name in missing), (absolute.name, absolute)]:
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise NSN2NError(
                    f"a path must not be longer than the file system takes; got {len(os.fsencode(absolute))} bytes, of"
                    f" which {len(os.fsencode(name))} for {name[:_SHOWN]!r}... below {existing}. Choose a shorter one."
                ) from error


def _existing(absolute: Path) -> Path:
    """The nearest part of a path that exists."""
    # os.path.exists says no, rather than raise, where a folder on the way may not be entered.
    return next(part for part in (absolute, *absolute.parents) if os.path.exists(part))


def require_writable_folder(folder: Path) -> None:
    """Refuse a path that is not a folder that can be written to, or made; nothing is made.

    Raises
    ------
    NSN2NError
        If the nearest part of the path that exists is no folder, or files cannot be made in it, or the path is too
        long.
    """
    require_possible_path(folder)
    absolute = folder.absolute()
    existing = _existing(absolute)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        state = "cannot be written to" if existing.is_dir() else "is a file"
        raise NSN2NError(
            f"the output must be a folder that can be written to; {existing} {state}. Choose another folder."
        )
