# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One worker on this machine, a child process that processes the series one by one: for shards, without Ray."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnContext, SpawnProcess
from typing import Any

from nsn2n.batch.run_series import run_series
from nsn2n.batch.scheduling import Ended
from nsn2n.batch.task import SeriesOutcome, SeriesTask

__all__ = ["ChildWorker"]

_STOP_S = 10.0
"""Time for the child to remove what it has not completed, before it is killed."""


@dataclass
class ChildWorker:
    """A separate process, so that a series that crashes it affects nothing else; it is then restarted."""

    patience_s: float = 0.0
    _context: SpawnContext = field(default_factory=lambda: multiprocessing.get_context("spawn"))
    _process: SpawnProcess | None = None
    _connection: Connection[Any, Any] | None = None
    _task: SeriesTask | None = None

    def have_room(self) -> bool:
        """Whether the child is idle."""
        return self._task is None

    def obstacle(self, task: SeriesTask) -> str | None:
        """Return None: the job itself reports what does not fit into memory, more accurately."""
        return None

    def begin(self, task: SeriesTask) -> None:
        """Send a series to the child."""
        if self._process is None or not self._process.is_alive():
            self._connection, childs = self._context.Pipe()
            self._process = self._context.Process(target=_serve, args=(childs,), daemon=True)
            self._process.start()
            childs.close()
        assert self._connection is not None
        self._task = task
        self._connection.send(task)

    def wait(self, seconds: float) -> list[Ended]:
        """Wait until the series has ended, or until the timeout."""
        if self._task is None or self._process is None or self._connection is None:
            return []
        ready = wait([self._connection, self._process.sentinel], seconds)
        if not ready:
            return []
        task, self._task = self._task, None
        if self._connection in ready:
            try:
                outcome = self._connection.recv()
            except (EOFError, OSError):
                pass  # it died during its answer or before it
            else:
                assert isinstance(outcome, SeriesOutcome)
                return [Ended(task, outcome)]
        self._process.join()
        return [Ended(task, None, _reason(self._process.exitcode))]

    def stop(self) -> None:
        """End the child and the series in progress."""
        if self._process is not None and self._connection is not None:
            if self._task is not None:
                self._process.terminate()
            self._connection.close()  # this ends an idle child
            self._process.join(_STOP_S)
            self._process.kill()
            self._process.join()
        self._task = None


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection[Any, Any]) -> None:
    """Process series until the parent is gone. Ctrl-C also reaches the parent, which ends this process by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        os.environ["OMP_NUM_THREADS"] = str(task.cpus)  # PyTorch reads it on import, for the first series
        connection.send(run_series(task))


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """Exit if the parent was killed, which cannot end its child: no series may be processed by two runs."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
