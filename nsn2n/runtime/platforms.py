# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Refusal of commands that run only on Linux."""

from __future__ import annotations

import sys

from nsn2n.errors import NSN2NError

__all__ = ["require_linux"]


def require_linux(what: str) -> None:
    """Refuse to start what needs the locks, processes and limits of Linux.

    Parameters
    ----------
    what : str
        The command, for the message.

    Raises
    ------
    NSN2NError
        On any other system.
    """
    if sys.platform != "linux":
        raise NSN2NError(
            f"{what} must run on Linux; this system is {sys.platform}. Use nsn2n denoise, or the container."
        )
