# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Amounts of memory as users write them: ``8G``, ``900M``, ``1.5GiB``."""

from __future__ import annotations

import re

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import shown

__all__ = ["size_in_bytes"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([KMGT])i?)?B?\s*", re.IGNORECASE | re.ASCII)
_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_MOST = 2**62
"""No machine has more; file systems count in signed 64-bit numbers."""


def size_in_bytes(size: str | int, name: str = "memory") -> int:
    """Return a size in bytes.

    Parameters
    ----------
    size : str or int
        A number, optionally with the unit K, M, G or T: powers of 1024, also written KB or KiB. Without unit: bytes.
    name : str
        Name of the option, for the message.

    Raises
    ------
    SettingsError
        If it is not a size, or not above 0.
    """
    found = _SIZE.fullmatch(str(size)) if isinstance(size, (str, int)) and not isinstance(size, bool) else None
    number = 0 if found is None else int(float(found[1]) * _UNITS[(found[2] or "").upper()])
    if not 0 < number <= _MOST:
        raise SettingsError(f"{name} must be a size above 0, such as 8G or 900M; got {shown(size)}. Correct it.")
    return number
