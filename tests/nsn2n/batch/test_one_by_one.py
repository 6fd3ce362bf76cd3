# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from nsn2n.batch.one_by_one import ChildWorker


@pytest.fixture
def worker():
    worker = ChildWorker()
    yield worker
    worker.stop()


def _until_ended(worker):
    for _ in range(240):
        ended = worker.wait(0.5)
        if ended:
            return ended[0]
    raise AssertionError("no series has ended")


def test_one_child_takes_series_after_series(worker, make_tasks):
    tasks = make_tasks(2)
    pids = []
    for task in tasks:
        assert worker.have_room()
        worker.begin(task)
        assert not worker.have_room()
        pids.append(worker._process.pid)
        ended = _until_ended(worker)
        assert (ended.task, ended.outcome.error) == (task, None)

    assert len(set(pids)) == 1
    assert pids[0] != os.getpid()
    assert worker.wait(0) == []


def test_child_that_is_killed_is_reported_and_followed_by_another(worker, make_tasks):
    first, second = make_tasks(2)
    worker.begin(first)
    os.kill(worker._process.pid, signal.SIGKILL)
    ended = _until_ended(worker)

    assert (ended.task, ended.outcome, ended.reason) == (first, None, "killed by SIGKILL")
    worker.begin(second)
    assert _until_ended(worker).outcome.error is None


def test_stop_ends_the_child(worker, make_tasks):
    (task,) = make_tasks(1)
    worker.begin(task)
    child = worker._process
    worker.stop()

    assert not child.is_alive()
    assert not task.folder.exists()


def test_child_ends_with_a_parent_that_is_killed(make_tasks, tmp_path):
    make_tasks(1)
    code = f"""
import time
from pathlib import Path
from nsn2n.batch.one_by_one import ChildWorker
from nsn2n.batch.series_list import find_series
from nsn2n.batch.task import SeriesTask
from nsn2n.jobs.options import JobOptions

if __name__ == "__main__":
    options = JobOptions(config={{"fit": {{"steps": 100000}}}})
    found = find_series({str(tmp_path / "trial")!r}, options)
    worker = ChildWorker()
    worker.begin(SeriesTask(series=found.series[0], output=Path({str(tmp_path / "out")!r}), options=options))
    print(worker._process.pid, flush=True)
    time.sleep(600)
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    with subprocess.Popen(
        [sys.executable, script], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    ) as process:  # fmt: skip
        child = psutil.Process(int(process.stdout.readline()))
        for _ in range(200):  # until it has begun the series
            if list(tmp_path.glob("out/*/.nsn2n-*")):
                break
            time.sleep(0.1)
        process.kill()

    child.wait(timeout=30)


def test_needs_no_ray(make_tasks):
    code = "import sys, nsn2n.batch.one_by_one; sys.exit('ray' in sys.modules or 'torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
