# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Looks at where results are to go before minutes are spent on making them."""

from __future__ import annotations

import os
from pathlib import Path

from nsn2n.errors import NSN2NError

__all__ = ["require_writable_folder"]


def require_writable_folder(folder: Path) -> None:
    """Refuse a path that is not a folder that can be written to, or made; nothing is made.

    Raises
    ------
    NSN2NError
        If the nearest part of the path that exists is no folder, or files cannot be made in it.
    """
    absolute = folder.absolute()
    # os.path.exists says no, rather than raise, where a folder on the way may not be entered.
    existing = next(path for path in (absolute, *absolute.parents) if os.path.exists(path))
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        state = "cannot be written to" if existing.is_dir() else "is a file"
        raise NSN2NError(
            f"the output must be a folder that can be written to; {existing} {state}. Choose another folder."
        )
