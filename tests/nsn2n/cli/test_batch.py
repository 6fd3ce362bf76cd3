# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command with a shard, which needs no Ray; with Ray: tests/nsn2n/batch/test_on_ray.py."""

from __future__ import annotations

import csv
import io
import os
import signal
import sqlite3
import subprocess
import sys
import time

import numpy as np
import pydicom
import pytest
from rich.console import Console

from nsn2n.batch.ledger import read_ledgers
from nsn2n.cli.batch import print_status
from nsn2n.synthetic.dicom_series import write_synthetic_series


@pytest.fixture
def trial(tmp_path):
    """Three series, of which the third is damaged."""
    for number in (1, 2, 3):
        volume = np.random.default_rng(number).normal(40, 20, (3, 32, 32))
        files = write_synthetic_series(volume, tmp_path / "trial", series_number=number, seed=f"cli-{number}")
    header = pydicom.dcmread(files[1])
    header.Rows = 16
    header.save_as(files[1])
    return tmp_path / "trial"


@pytest.fixture(autouse=True)
def no_array(monkeypatch):
    """Whoever runs the tests, perhaps in an array."""
    for name in list(os.environ):
        if name.startswith(("SLURM_", "JOB_COMPLETION", "NSN2N_")):
            monkeypatch.delenv(name)


def _pixels(folder):
    return {
        (int(header.SeriesNumber), int(header.InstanceNumber)): header.PixelData
        for header in map(pydicom.dcmread, folder.rglob("IM*.dcm"))
    }


def test_series_are_what_denoise_makes_of_them_and_are_done_once(nsn2n, trial, tmp_path, brief_config, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)  # as if it were not installed
    out = tmp_path / "out"
    arguments = ("batch", trial, out, "--shard", "1/1", "--config", brief_config, "--seed", 3)

    first = nsn2n(*arguments)

    assert first.code == 3
    assert first.stdout.splitlines() == [str(out / "status.csv"), str(out / "status.html")]
    errors = [line for line in first.stderr.splitlines() if line.startswith("error: ")]
    assert "CT series 3" in errors[0]
    assert "Rows" in errors[0]
    assert errors[1].startswith("error: 3 series: 2 done, 1 failed, 0 running, 0 waiting")
    assert "Traceback" not in first.stderr
    nsn2n("denoise", trial, tmp_path / "alone", "--config", brief_config, "--seed", 3)
    assert len(_pixels(out)) == 6
    assert _pixels(out) == _pixels(tmp_path / "alone")

    written = {file: file.stat().st_mtime_ns for file in out.rglob("*.dcm")}
    again = nsn2n(*arguments)
    assert again.code == 3
    assert "2 done earlier, 1 failed earlier, 0 to do" in again.stderr
    assert {file: file.stat().st_mtime_ns for file in out.rglob("*.dcm")} == written
    assert [row.tries for row in read_ledgers(out)] == [1, 1, 1]

    for file in trial.iterdir():
        header = pydicom.dcmread(file)
        header.Rows = 32
        header.save_as(file)
    retried = nsn2n(*arguments, "--retry-failed")
    assert retried.code == 0, retried.stderr
    assert "3 series: 3 done" in retried.stderr.splitlines()[-1]
    assert [(row.state, row.tries) for row in read_ledgers(out)] == [("done", 1), ("done", 1), ("done", 2)]


def test_shards_of_an_array_share_the_series(nsn2n, trial, tmp_path, brief_config, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "0")
    for task in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", task)
        nsn2n("batch", trial, tmp_path / "out", "--config", brief_config, "--quiet")

    assert sorted(path.name for path in (tmp_path / "out").glob("*.sqlite")) == [
        "ledger-1-of-2.sqlite",
        "ledger-2-of-2.sqlite",
    ]
    rows = read_ledgers(tmp_path / "out")
    assert len({row.series_uid for row in rows}) == len(rows) == 3
    monkeypatch.delenv("SLURM_ARRAY_TASK_ID")
    status = nsn2n("batch", trial, tmp_path / "out", "--status")
    table = list(csv.DictReader(io.StringIO(status.stdout), delimiter="\t"))
    assert [row["state"] for row in table] == ["failed", "done", "done"]
    assert "3 series: 2 done, 1 failed" in status.stderr


def test_table_on_a_terminal(nsn2n, trial, tmp_path, brief_config, monkeypatch):
    nsn2n("batch", trial, tmp_path / "out", "--shard", "1/1", "--config", brief_config)
    shown = io.StringIO()

    print_status(tmp_path / "out", Console(file=shown, force_terminal=True, width=200, color_system=None))

    assert "3 series: 2 done, 1 failed" in shown.getvalue()
    assert "must be" in shown.getvalue()


def test_killed_run_goes_on(trial, tmp_path, nsn2n, brief_config):
    """Killed while its first series is in work, with its child; then all is done once."""
    out = tmp_path / "out"
    slow = tmp_path / "slow.yaml"
    slow.write_text("fit: {steps: 1000000}\n")
    command = [sys.executable, "-m", "nsn2n", "batch", trial, out, "--shard", "1/1", "--config"]
    with subprocess.Popen([*command, slow], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        _until(lambda: list(out.glob("*/.nsn2n-*")))
        process.kill()
    assert next(row.state for row in read_ledgers(out)) == "running"
    connection = sqlite3.connect(out / "ledger-1-of-1.sqlite")  # as if it had been begun with the brief settings
    connection.execute("DELETE FROM run")
    connection.commit()
    connection.close()

    nsn2n("batch", trial, out, "--shard", "1/1", "--config", brief_config)

    assert [(row.state, row.tries) for row in read_ledgers(out)] == [("done", 2), ("done", 1), ("failed", 1)]
    assert not list(out.glob("*/.nsn2n-*"))


@pytest.mark.usefixtures("signals_as_in_a_terminal")
def test_interrupted_run_says_so(trial, tmp_path):
    out, slow = tmp_path / "out", tmp_path / "slow.yaml"
    slow.write_text("fit: {steps: 1000000}\n")
    command = [sys.executable, "-m", "nsn2n", "batch", trial, out, "--shard", "1/1", "--config", slow]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        _until(lambda: list(out.glob("*/.nsn2n-*")))
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)

    assert process.returncode == 128 + signal.SIGINT
    assert errors.splitlines()[-1].startswith("warning: interrupted")
    assert "Traceback" not in errors
    assert {row.state for row in read_ledgers(out)} == {"waiting"}
    assert not list(out.glob("*/.nsn2n-*"))


def _until(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--shard", "3/2"), "a shard must be in 1/N to N/N"),
        (("--shard", "1/1", "--num-cpus", 4096), "the processors of this machine; got 4096"),
        (("--shard", "1/1", "--modality", "CT"), "--modality is for volume files"),
        (("--shard", "1/1", "--series", "1.2.3"), "no series 1.2.3 in"),
        (("--status",), "--status needs a ledger"),
    ],
)
def test_bad_input_is_one_line(nsn2n, trial, tmp_path, arguments, message):
    result = nsn2n("batch", trial, tmp_path / "out", *arguments)

    assert result.code == 1
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert message in line
    assert not list(tmp_path.glob("out/*"))


def test_other_options_in_the_same_folder_are_refused(nsn2n, trial, tmp_path, brief_config):
    nsn2n("batch", trial, tmp_path / "out", "--shard", "1/1", "--config", brief_config, "--strength", 0)

    result = nsn2n("batch", trial, tmp_path / "out", "--shard", "1/1", "--config", brief_config)

    assert result.code == 1
    assert "must have the same options; got strength None" in result.stderr


def test_help_and_import_stay_free_of_ray():
    heavy = {"ray", "requests", "torch", "sqlite3"}
    code = f"import sys, nsn2n, nsn2n.cli.main; sys.exit(bool({heavy!r} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
