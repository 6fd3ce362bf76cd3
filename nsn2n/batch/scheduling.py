# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Assigns series to workers until all are done or have failed, and keeps the ledger, for any kind of workers.

A series whose worker died is restarted, a few times. One that its worker could not denoise is not: the same series,
seed and machine would fail in the same way.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

from nsn2n.batch.ledger import DONE, FAILED, RUNNING, Ledger
from nsn2n.batch.run_series import finished_before
from nsn2n.batch.task import SeriesOutcome, SeriesTask

__all__ = ["Counts", "Ended", "Workers", "run_tasks", "tasks_left"]


@dataclass(frozen=True)
class Ended:
    """A task that a worker has ended."""

    task: SeriesTask
    outcome: SeriesOutcome | None
    """None if the worker died."""
    reason: str = ""
    """Why the worker died."""


class Workers(Protocol):
    """Processes that run series, on this machine or on others."""

    patience_s: float
    """How long to wait for a worker that is large enough before a series fails."""

    def have_room(self) -> bool:
        """Whether another series can be assigned now."""

    def obstacle(self, task: SeriesTask) -> str | None:
        """Return why no present worker can ever take a series; None if one can."""

    def begin(self, task: SeriesTask) -> None:
        """Assign a series to a worker."""

    def wait(self, seconds: float) -> list[Ended]:
        """Wait until a series has ended, or until the timeout, and return those that have."""

    def stop(self) -> None:
        """End all workers and the series in progress."""


@dataclass
class Counts:
    """Progress of a run."""

    total: int
    done: int = 0
    failed: int = 0
    running: int = 0

    @property
    def ended(self) -> int:
        """Done or failed."""
        return self.done + self.failed


OnChange = Callable[[Counts, Ended | None], None]

_POLL_S = 0.5


def tasks_left(tasks: Iterable[SeriesTask], ledger: Ledger, *, retry_failed: bool) -> list[SeriesTask]:
    """Return the tasks that are neither done nor failed before.

    A series whose complete folder exists is recorded as done: the run was killed between the two. One that is
    recorded as running belongs to a run that has ended, since a ledger has one writer.
    """
    state = {row.series_uid: row.state for row in ledger.rows()}
    left = []
    for task in tasks:
        uid = task.series.SeriesInstanceUID
        if state[uid] == DONE or (state[uid] == FAILED and not retry_failed):
            continue
        complete = finished_before(task)
        if complete is not None:
            ledger.ended(uid, complete)
            continue
        if state[uid] in (RUNNING, FAILED):
            ledger.waits(uid)
        left.append(task)
    return left


def run_tasks(
    tasks: Iterable[SeriesTask],
    ledger: Ledger,
    workers: Workers,
    counts: Counts,
    *,
    max_retries: int,
    strict: bool = False,
    on_change: OnChange = lambda counts, ended: None,
) -> None:
    """Run each task to its end.

    Parameters
    ----------
    tasks : iterable of SeriesTask
    ledger : Ledger
    workers : Workers
    counts : Counts
        Updated during the run.
    max_retries : int
        How many times a series whose worker died is restarted.
    strict : bool
        Start no further series after one has failed.
    on_change : callable
        Called from time to time, and with each series that has ended. What it raises ends the run: series in progress
        are cancelled, and the ledger has them as waiting.
    """
    run = _Run(deque(tasks), ledger, workers, counts, max_retries, strict, on_change)
    try:
        while run.waiting or run.running or run.too_large:
            run.begin()
            on_change(counts, None)
            if run.running:
                for ended in workers.wait(_POLL_S):
                    run.take(ended)
            elif run.waiting:
                time.sleep(_POLL_S)
            else:
                run.settle_too_large()
    except BaseException:
        for uid in run.running:
            ledger.waits(uid)
        raise
    finally:
        workers.stop()


@dataclass
class _Run:
    waiting: deque[SeriesTask]
    ledger: Ledger
    workers: Workers
    counts: Counts
    max_retries: int
    strict: bool
    on_change: OnChange
    running: set[str] = field(default_factory=set)
    too_large: list[SeriesTask] = field(default_factory=list)
    """Too large for all present workers: tried last."""
    deaths: dict[str, int] = field(default_factory=dict)

    def begin(self) -> None:
        """Assign as many series as the workers have room for."""
        while self.waiting and self.workers.have_room():
            task = self.waiting.popleft()
            if self.workers.obstacle(task) is not None:
                self.too_large.append(task)
                continue
            self.ledger.begun(task.series.SeriesInstanceUID)
            self.running.add(task.series.SeriesInstanceUID)
            self.workers.begin(task)
        self.counts.running = len(self.running)

    def take(self, ended: Ended) -> None:
        """Collect what has ended."""
        uid = ended.task.series.SeriesInstanceUID
        self.running.discard(uid)
        outcome = ended.outcome
        if outcome is None:
            self.deaths[uid] = self.deaths.get(uid, 0) + 1
            if self.deaths[uid] <= self.max_retries:
                self.ledger.waits(uid, f"its worker died ({ended.reason}); it is retried")
                self.waiting.append(ended.task)
                return
            outcome = SeriesOutcome(
                error=f"a worker must run until its series is done; it died {self.deaths[uid]} times ({ended.reason})."
                " Give it more memory, and run again with --retry-failed."
            )
        self._note(ended.task, outcome)

    def settle_too_large(self) -> None:
        """Wait a while for larger machines, and fail the series that none can take."""
        end = time.monotonic() + self.workers.patience_s
        while self.too_large and not self.waiting:
            obstacles = [self.workers.obstacle(task) for task in self.too_large]
            self.waiting.extend(task for task, why in zip(self.too_large, obstacles, strict=True) if why is None)
            if self.waiting:
                self.too_large = [task for task, why in zip(self.too_large, obstacles, strict=True) if why is not None]
            elif time.monotonic() >= end:
                refused, self.too_large = self.too_large, []
                for task, why in zip(refused, obstacles, strict=True):
                    self._note(task, SeriesOutcome(error=why))
            else:
                self.on_change(self.counts, None)
                time.sleep(_POLL_S)

    def _note(self, task: SeriesTask, outcome: SeriesOutcome) -> None:
        self.ledger.ended(task.series.SeriesInstanceUID, outcome)
        if outcome.error is None:
            self.counts.done += 1
        else:
            self.counts.failed += 1
            if self.strict:
                self.waiting.clear()
                self.too_large = []
        self.counts.running = len(self.running)
        self.on_change(self.counts, Ended(task, outcome))
