# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One worker on this machine, a child process that takes the series one after another: for shards, without Ray."""

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
"""For the child to remove what it has not completed, before it is killed."""


@dataclass
class ChildWorker:
    """A process of its own, so that a series that takes it down takes nothing else; begun anew where that happens."""

    patience_s: float = 0.0
    _context: SpawnContext = field(default_factory=lambda: multiprocessing.get_context("spawn"))
    _process: SpawnProcess | None = None
    _connection: Connection[Any, Any] | None = None
    _task: SeriesTask | None = None

    def have_room(self) -> bool:
        """Whether the child is idle."""
        return self._task is None

    def obstacle(self, task: SeriesTask) -> str | None:
        """None: the job says itself what does not fit into memory, and knows better."""
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
        """Wait until the series has ended, or for so long."""
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
                pass  # it died while it answered, or without an answer
            else:
                assert isinstance(outcome, SeriesOutcome)
                return [Ended(task, outcome)]
        self._process.join()
        return [Ended(task, None, _reason(self._process.exitcode))]

    def stop(self) -> None:
        """End the child, with the series that it has in work."""
        if self._process is not None and self._connection is not None:
            if self._task is not None:
                self._process.terminate()
            self._connection.close()  # an idle child ends by that
            self._process.join(_STOP_S)
            self._process.kill()
            self._process.join()
        self._task = None


def _reason(code: int | None) -> str:
    if code is not None and code < 0:
        return f"killed by {signal.Signals(-code).name}"
    return f"exit code {code}"


def _serve(connection: Connection[Any, Any]) -> None:
    """Take series until the parent is gone. Ctrl-C goes to the parent too, which ends this process by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        os.environ["OMP_NUM_THREADS"] = str(task.cpus)  # PyTorch reads it when it is loaded, by the first series
        connection.send(run_series(task))


def _end(number: int, frame: object) -> None:
    signal.signal(number, signal.SIG_IGN)
    raise SystemExit(128 + number)


def _end_with_parent() -> None:
    """A parent that was killed cannot end its child: so that nobody works on a series beside the next run."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
