# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What runs on Linux alone says so."""

from __future__ import annotations

import sys

from nsn2n.errors import NSN2NError

__all__ = ["require_linux"]


def require_linux(what: str) -> None:
    """Refuse to begin what needs locks, processes and limits as Linux has them.

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
