# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Memory that is not there, told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nsn2n.errors import NSN2NError

__all__ = ["memory_errors"]

SIGNS = (
    *("can't allocate memory", "out of memory", "not enough memory", "can't start new thread"),
    "could not create a primitive",
)
"""What PyTorch and Python say in a RuntimeError when the system gives no more. The last is oneDNN's, of convolutions:
for shapes as they are here nothing but memory keeps it from making one."""


@contextmanager
def memory_errors(what: str) -> Iterator[None]:
    """Turn a lack of memory in the block into an `NSN2NError` that names what was in work.

    Parameters
    ----------
    what : str
        For the message: the label of a series, or a file.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error).lower() for sign in SIGNS):
            raise
        raise NSN2NError(
            f"there must be memory enough for a whole volume; it ran out [{what}]. "
            "Give the process more, or end other programs."
        ) from error
