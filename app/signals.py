# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Ends the process on a signal, immediately and without leftovers in the output folder."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading

from nsn2n.runtime.unfinished import unfinished_folders

__all__ = ["stop_on_signals"]

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

CLEAN_UP = """\
import shutil, sys
for folder in sys.argv[2:]:
    shutil.rmtree(folder, ignore_errors=True)
sys.exit(int(sys.argv[1]))
"""


def stop_on_signals() -> None:
    """Stop on SIGTERM, SIGINT and SIGHUP, with exit code 128 plus the number of the signal.

    Call it once, in the main thread, before any library starts threads: they inherit that these signals are
    blocked, so a dedicated thread receives them. Python's handlers would run in the main thread, which is in
    Holoscan's scheduler until the graph ends, and the first process of a container has no default ones. An ignored
    signal stays ignored, as ``nohup`` requires.
    """
    heeded = {number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    signal.pthread_sigmask(signal.SIG_BLOCK, heeded)
    threading.Thread(target=_wait, args=(heeded,), name="signals", daemon=True).start()


def _wait(heeded: set[signal.Signals]) -> None:
    received = signal.sigwait(heeded)
    logger.error("stopped by %s; unfinished series are removed", signal.Signals(received).name)
    sys.stderr.flush()
    # exec ends all threads before anything is removed, so none of them can write again.
    code = str(128 + received)
    folders = [str(folder) for folder in unfinished_folders()]
    os.execv(sys.executable, [sys.executable, "-I", "-S", "-c", CLEAN_UP, code, *folders])
