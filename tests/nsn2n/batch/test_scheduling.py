# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The order in which series are begun, and what becomes of them: with workers of the test, and with real ones."""

from __future__ import annotations

from collections import deque

import pytest

from nsn2n.batch.ledger import DONE, FAILED, WAITING, Ledger
from nsn2n.batch.one_by_one import ChildWorker
from nsn2n.batch.run_series import run_series
from nsn2n.batch.scheduling import Counts, Ended, run_tasks, tasks_left
from nsn2n.batch.task import SeriesOutcome


class Scripted:
    """Workers that do what the test says: for each series a list of what becomes of its tries, the last repeated."""

    patience_s = 0.0

    def __init__(self, slots=2, script=None, too_large=()):
        self.slots, self.script, self.too_large = slots, script or {}, set(too_large)
        self.begun, self.in_work, self.stopped, self.most = [], deque(), False, 0

    def have_room(self):
        return len(self.in_work) < self.slots

    def obstacle(self, task):
        return "must fit; it does not" if task.series.SeriesNumber in self.too_large else None

    def begin(self, task):
        self.begun.append(task.series.SeriesNumber)
        self.in_work.append(task)
        self.most = max(self.most, len(self.in_work))

    def wait(self, seconds):
        task = self.in_work.popleft()
        tries = self.script.get(task.series.SeriesNumber, [SeriesOutcome(verdict="pass")])
        found = tries.pop(0) if len(tries) > 1 else tries[0]
        return [Ended(task, None, "killed")] if found is None else [Ended(task, found)]

    def stop(self):
        self.stopped = True


@pytest.fixture
def ledger(tmp_path):
    with Ledger.opened(tmp_path / "out" / "ledger.sqlite", {}) as ledger:
        yield ledger


@pytest.fixture
def tasks(make_tasks, ledger):
    """Four series, each in a study of its own number."""
    made = make_tasks(4)
    ledger.add((task.series, str(task.folder), task.memory_bytes) for task in made)
    return made


def _number(tasks, index):
    return tasks[index].series.SeriesNumber


@pytest.fixture
def numbered(tasks):
    """The same, with the numbers 0 to 3."""
    import dataclasses

    return [
        dataclasses.replace(task, series=dataclasses.replace(task.series, SeriesNumber=number))
        for number, task in enumerate(tasks)
    ]


def _run(tasks, ledger, workers, **options):
    counts = Counts(len(tasks))
    run_tasks(tasks, ledger, workers, counts, **{"max_retries": 2, **options})
    return counts


def test_all_are_taken_in_order_and_no_more_at_once_than_there_is_room(numbered, ledger):
    workers = Scripted(slots=2)
    counts = _run(numbered, ledger, workers)

    assert workers.begun == [0, 1, 2, 3]
    assert workers.most == 2
    assert (counts.done, counts.failed, counts.running) == (4, 0, 0)
    assert {(row.state, row.tries) for row in ledger.rows()} == {(DONE, 1)}
    assert workers.stopped


def test_series_whose_worker_died_is_taken_again_at_the_end(numbered, ledger):
    workers = Scripted(slots=1, script={0: [None, None, SeriesOutcome(verdict="pass")]})
    _run(numbered, ledger, workers)

    assert workers.begun == [0, 1, 2, 3, 0, 0]
    assert [row.tries for row in ledger.rows()] == [3, 1, 1, 1]
    assert ledger.rows()[0].state == DONE
    assert ledger.rows()[0].error == ""


@pytest.mark.parametrize("retries", [0, 2])
def test_one_whose_workers_die_is_given_up(numbered, ledger, retries):
    workers = Scripted(script={2: [None]})
    counts = _run(numbered, ledger, workers, max_retries=retries)

    row = ledger.rows()[2]
    assert (row.state, row.tries) == (FAILED, retries + 1)
    assert f"it died {retries + 1} times (killed)" in row.error
    assert (counts.done, counts.failed) == (3, 1)


def test_bad_series_is_not_taken_again(numbered, ledger):
    workers = Scripted(script={1: [SeriesOutcome(error="must have 3 slices")]})
    _run(numbered, ledger, workers)

    assert workers.begun == [0, 1, 2, 3]
    assert [(row.state, row.error) for row in ledger.rows()][1] == (FAILED, "must have 3 slices")


def test_strict_begins_none_after_a_failure(numbered, ledger):
    workers = Scripted(slots=2, script={0: [SeriesOutcome(error="bad")]})
    _run(numbered, ledger, workers, strict=True)

    assert workers.begun == [0, 1]  # 1 was in work already
    assert [row.state for row in ledger.rows()] == [FAILED, DONE, WAITING, WAITING]


def test_what_fits_no_machine_waits_for_the_others_and_fails(numbered, ledger):
    workers = Scripted(slots=1, too_large={0, 2})
    _run(numbered, ledger, workers)

    assert workers.begun == [1, 3]
    assert [(row.state, row.error, row.tries) for row in ledger.rows()][2] == (FAILED, "must fit; it does not", 0)


def test_larger_machine_that_comes_takes_them(numbered, ledger):
    workers = Scripted(slots=1, too_large={0, 2})
    workers.patience_s = 60.0

    def comes(counts, ended):
        if counts.done == 2:
            workers.too_large.clear()

    _run(numbered, ledger, workers, on_change=comes)

    assert workers.begun == [1, 3, 0, 2]
    assert {row.state for row in ledger.rows()} == {DONE}


def test_end_of_a_run_leaves_what_was_in_work_as_waiting(numbered, ledger):
    workers = Scripted(slots=3)

    def stop(counts, ended):
        if ended is not None:
            raise SystemExit(130)

    with pytest.raises(SystemExit):
        _run(numbered, ledger, workers, on_change=stop)

    assert workers.stopped
    assert [row.state for row in ledger.rows()] == [DONE, WAITING, WAITING, WAITING]
    assert "the run ended before" in ledger.rows()[1].error


def test_run_goes_on_where_another_ended(tasks, ledger):
    """Done, completed without a note, in work, failed, and not begun: only what is left is taken."""
    uids = [task.series.SeriesInstanceUID for task in tasks]
    ledger.ended(uids[0], SeriesOutcome(verdict="pass"))
    ledger.begun(uids[1])
    complete = run_series(tasks[1])
    ledger.ended(uids[2], SeriesOutcome(error="bad"))
    ledger.begun(uids[3])

    left = tasks_left(tasks, ledger, retry_failed=False)

    assert left == [tasks[3]]
    rows = ledger.rows()
    assert [row.state for row in rows] == [DONE, DONE, FAILED, WAITING]
    assert (rows[1].verdict, rows[1].seconds, rows[1].host) == (complete.verdict, complete.seconds, complete.host)
    assert tasks_left(tasks, ledger, retry_failed=True) == [tasks[2], tasks[3]]
    assert ledger.rows()[2].state == WAITING


def test_real_child_takes_all(tasks, ledger):
    counts = _run(tasks, ledger, ChildWorker())

    assert counts.done == 4
    assert all((task.folder / "outcome.json").is_file() for task in tasks)
