# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Ends a run on Ctrl-C and SIGTERM, even if a library drops the exception raised for it.

Python raises what a handler raises wherever the program happens to be. That may be below a bare ``except``, like the
one in :mod:`copyreg`, which :func:`copy.deepcopy` calls for each new class; so the signal is stored, and
:func:`raise_if_stopped` raises again. It may also be in a destructor, which cannot raise; Python then reports the
dropped exception, and a timer raises again a moment later. Windows has neither that timer nor SIGHUP.
"""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["heeded_signals", "raise_if_stopped"]

logger = logging.getLogger(__name__)

_WORDS = {
    signal.SIGINT: "interrupted",
    signal.SIGTERM: "stopped by SIGTERM",
}
if hasattr(signal, "SIGHUP"):
    _WORDS[signal.SIGHUP] = "stopped by SIGHUP"

_HAS_TIMER = hasattr(signal, "setitimer")

_SOON_S = 0.001

_received: list[signal.Signals] = []
"""Signals in the order of arrival; the first one determines the exit code."""


@contextmanager
def heeded_signals() -> Iterator[None]:
    """End the block on SIGINT, SIGTERM and SIGHUP with a SystemExit of code 128 plus the signal number.

    What the block has not completed is removed on the way out. An ignored signal stays ignored, as ``nohup``
    requires. For the main thread only.
    """
    _received.clear()
    before = {number: signal.getsignal(number) for number in _WORDS}
    heeded = [number for number, handler in before.items() if handler is not signal.SIG_IGN]
    for number in heeded:
        signal.signal(number, _stop)
    timer = signal.signal(signal.SIGALRM, lambda number, frame: raise_if_stopped()) if _HAS_TIMER else None
    unraisable = sys.unraisablehook
    sys.unraisablehook = _raise_soon
    try:
        yield
    finally:
        sys.unraisablehook = unraisable
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, timer)
        for number in heeded:
            signal.signal(number, before[number])
        if _received:
            # Logged here, not in the handler, which may run while stderr is being written to.
            logger.warning("%s; what is complete has been printed, nothing else was written", _WORDS[_received[0]])
            raise_if_stopped()


def raise_if_stopped() -> None:
    """Raise SystemExit if a signal has arrived; call it regularly in a long run."""
    if _received:
        raise SystemExit(128 + _received[0])


def _raise_soon(dropped: sys.UnraisableHookArgs) -> None:
    """Raise again, once the destructor that dropped the exception has ended."""
    if _received and dropped.exc_type is SystemExit:
        if _HAS_TIMER:
            signal.setitimer(signal.ITIMER_REAL, _SOON_S)
    else:
        sys.__unraisablehook__(dropped)


def _stop(number: int, frame: object) -> None:
    _received.append(signal.Signals(number))
    raise_if_stopped()
