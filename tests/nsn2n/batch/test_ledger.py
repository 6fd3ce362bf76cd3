# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nsn2n.batch.ledger import DONE, FAILED, RUNNING, WAITING, Ledger, read_ledgers
from nsn2n.batch.task import FoundSeries, RemoteSeries, SeriesOutcome
from nsn2n.errors import NSN2NError, SettingsError

OPTIONS = {"preset": "fast", "seed": 1}


def _series(count):
    for number in range(count):
        source = RemoteSeries("http://h", "1.2", f"1.2.{number}")
        yield FoundSeries("1.2", f"1.2.{number}", "MR", number, 10, source), f"1.2/1.2.{number}", 1000


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out" / "ledger.sqlite"


def test_states_of_a_series(file):
    with Ledger.opened(file, OPTIONS) as ledger:
        ledger.add(_series(3))
        ledger.begun("1.2.0")
        ledger.begun("1.2.1")
        ledger.waits("1.2.1", "its worker died")
        ledger.begun("1.2.1")
        done = SeriesOutcome(
            verdict="review", seconds=2.5, peak_bytes=7, host="node-3", remarks=("a", "b"), report="reports/x.html"
        )
        ledger.ended("1.2.0", done)
        ledger.ended("1.2.1", SeriesOutcome(error="must be", verdict="fail"))
        first, second, third = ledger.rows()

    assert (first.state, first.tries, first.verdict, first.seconds) == (DONE, 1, "review", 2.5)
    assert (first.peak_bytes, first.estimated_bytes, first.host, first.remarks) == (7, 1000, "node-3", "a; b")
    assert first.report == "1.2/1.2.0/reports/x.html"
    assert (second.state, second.tries, second.error, second.report) == (FAILED, 2, "must be", "")
    assert (third.state, third.tries, third.number, third.modality) == (WAITING, 0, 2, "MR")
    assert third.changed.endswith("+00:00")
    assert read_ledgers(file.parent) == [first, second, third]


def test_series_that_are_there_stay_as_they_are(file):
    with Ledger.opened(file, OPTIONS) as ledger:
        ledger.add(_series(1))
        ledger.ended("1.2.0", SeriesOutcome())
    with Ledger.opened(file, OPTIONS) as ledger:
        ledger.add(_series(2))

        assert [row.state for row in ledger.rows()] == [DONE, WAITING]


def test_2000_series(file):
    """In a time that is nothing beside that of the series; each change is on the disk."""
    started = time.process_time()
    with Ledger.opened(file, OPTIONS) as ledger:
        ledger.add(_series(2000))
        for number in range(2000):
            ledger.begun(f"1.2.{number}")
            ledger.ended(f"1.2.{number}", SeriesOutcome(verdict="pass"))
        rows = ledger.rows()
    used = time.process_time() - started

    assert [row.series_uid for row in rows] == [f"1.2.{number}" for number in range(2000)]
    assert {(row.state, row.tries) for row in rows} == {(DONE, 1)}
    assert used / 2000 < 0.05


def test_has_one_writer(file):
    with (
        Ledger.opened(file, OPTIONS),
        pytest.raises(NSN2NError, match=r"one writer; another run has .*ledger\.sqlite open"),
        Ledger.opened(file, OPTIONS),
    ):
        pass


def test_readers_see_it_while_it_is_written(file):
    with Ledger.opened(file, OPTIONS) as ledger:
        ledger.add(_series(1))
        ledger.begun("1.2.0")

        assert [row.state for row in read_ledgers(file.parent)] == [RUNNING]


def test_writer_that_is_killed_leaves_it_whole_and_free(file):
    code = f"""
import itertools
from pathlib import Path
from nsn2n.batch.ledger import Ledger
from tests.nsn2n.batch.test_ledger import OPTIONS, _series
with Ledger.opened(Path({str(file)!r}), OPTIONS) as ledger:
    ledger.add(_series(50))
    print("begun", flush=True)
    for number in itertools.cycle(range(50)):
        ledger.begun(f"1.2.{{number}}")
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[3]
    ) as process:
        assert process.stdout.readline() == "begun\n"
        time.sleep(0.3)
        os.kill(process.pid, signal.SIGKILL)

    with Ledger.opened(file, OPTIONS) as ledger:
        tries = [row.tries for row in ledger.rows()]
    assert len(tries) == 50
    assert max(tries) - min(tries) <= 1


def test_other_options_are_refused(file):
    with Ledger.opened(file, OPTIONS):
        pass

    with (
        pytest.raises(SettingsError, match=r"the same options; got seed 2, but .* was created with 1"),
        Ledger.opened(file, {**OPTIONS, "seed": 2}),
    ):
        pass
    with Ledger.opened(file, dict(reversed(OPTIONS.items()))):
        pass


@pytest.mark.parametrize("content", [b"no database, but a text of more than a few bytes" * 40, b"SQLite format 3\0cut"])
def test_what_is_no_ledger_is_refused(file, content):
    file.parent.mkdir()
    file.write_bytes(content)

    with (
        pytest.raises(NSN2NError, match=r"must be a readable and writable SQLite file; .*ledger\.sqlite"),
        Ledger.opened(file, OPTIONS),
    ):
        pass
    with pytest.raises(NSN2NError, match="must be a readable and writable SQLite file"):
        read_ledgers(file.parent)
    assert file.read_bytes() == content


def test_folder_without_a_ledger_has_no_status(tmp_path):
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(NSN2NError, match="--status needs a ledger"):
            read_ledgers(folder)


def test_ledgers_of_all_shards_are_read(tmp_path):
    for name, number in (("ledger-1-of-2.sqlite", 0), ("ledger-2-of-2.sqlite", 1)):
        with Ledger.opened(tmp_path / name, OPTIONS) as ledger:
            ledger.add(list(_series(2))[number : number + 1])

    assert [row.series_uid for row in read_ledgers(tmp_path)] == ["1.2.0", "1.2.1"]
