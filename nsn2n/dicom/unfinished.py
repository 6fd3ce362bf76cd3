# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Folders whose content is not complete yet: hidden, known to the process, and removed unless renamed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["hidden_folder", "unfinished_folders"]

_unfinished: set[Path] = set()


@contextmanager
def hidden_folder(parent: Path) -> Iterator[Path]:
    """Make a new folder that is gone afterwards, with all it holds, unless it was renamed.

    Parameters
    ----------
    parent : path
        An existing folder.

    Yields
    ------
    path
    """
    hidden = parent.absolute() / f".nsn2n-{uuid.uuid4().hex}"
    _unfinished.add(hidden)
    try:
        hidden.mkdir()
        yield hidden
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
        _unfinished.discard(hidden)


def unfinished_folders() -> tuple[Path, ...]:
    """Name the folders that would be left behind if the process ended now."""
    return tuple(_unfinished)
