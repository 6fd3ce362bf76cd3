# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What an operator does with a series that cannot be processed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from nsn2n.errors import NSN2NError
from nsn2n.runtime.memory import memory_errors

__all__ = ["ErrorHandler", "series_errors"]

ErrorHandler = Callable[[str, NSN2NError], None]
"""Takes the label of a series and why it could not be processed."""


@contextmanager
def series_errors(label: str, on_error: ErrorHandler | None) -> Iterator[None]:
    """Hand an `NSN2NError` of the block, or a lack of memory, to `on_error`, or let it pass if there is none.

    The rest of the block is skipped. An operator that emits at its end so emits nothing for that series, and
    the graph goes on with the next one. Without a handler the error ends the graph and leaves ``run()``.

    Parameters
    ----------
    label : str
        How messages name the series.
    on_error : callable, optional
        Called with the label and the error.
    """
    try:
        with memory_errors(label):
            yield
    except NSN2NError as error:
        if on_error is None:
            raise
        on_error(label, error)
