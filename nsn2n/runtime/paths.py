# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Checks input and output paths before minutes are spent on computation."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from nsn2n.errors import NSN2NError

__all__ = ["require_possible_path", "require_writable_folder"]

_SHOWN = 40
"""Characters shown of a name that is too long."""


def require_possible_path(path: Path) -> None:
    """Refuse a path that is too long for the file system, as a whole or by one of its names.

    Raises
    ------
    NSN2NError
        Before `Path.exists` and similar functions raise an OSError.
    """
    absolute = path.absolute()
    existing = _existing(absolute)
    # A name below a folder that does not exist yet would not be checked.
    missing = absolute.parts[len(existing.parts) :]
    for name, place in [*((name, existing / name) for name in missing), (absolute.name, absolute)]:
        try:
            os.lstat(place)
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:
                raise NSN2NError(
                    f"a path must not be longer than the file system allows; got {len(os.fsencode(absolute))} bytes, of"
                    f" which {len(os.fsencode(name))} for {name[:_SHOWN]!r}... below {existing}. Choose a shorter one."
                ) from error


def _existing(absolute: Path) -> Path:
    """The nearest part of a path that exists."""
    # os.path.exists returns False, rather than raise, if a parent folder may not be entered.
    return next(part for part in (absolute, *absolute.parents) if os.path.exists(part))


def require_writable_folder(folder: Path) -> None:
    """Refuse a path that is not a folder that can be written to or created; nothing is created.

    Raises
    ------
    NSN2NError
        If the nearest existing part of the path is not a folder or not writable, or the path is too
        long.
    """
    require_possible_path(folder)
    absolute = folder.absolute()
    existing = _existing(absolute)
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        state = "is not writable" if existing.is_dir() else "is a file"
        raise NSN2NError(f"the output must be a writable folder; {existing} {state}. Choose another folder.")
