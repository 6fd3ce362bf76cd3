# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import pydicom
import pytest

from nsn2n.batch.run_series import OUTCOME_FILE, finished_before, run_series
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.jobs.options import JobOptions


def _derived(task):
    return sorted(task.folder.glob("2.25.*/IM*.dcm"))


def test_folder_of_a_series_is_complete(make_tasks, tmp_path):
    (task,) = make_tasks(1)

    outcome = run_series(task)

    assert outcome.error is None
    assert outcome.verdict in ("pass", "review")
    assert outcome.seconds > 0
    assert outcome.peak_bytes > 100 << 20
    assert len(_derived(task)) == 3
    assert (task.folder / outcome.report).is_file()
    assert finished_before(task) == outcome
    assert json.loads((task.folder / OUTCOME_FILE).read_text())["verdict"] == outcome.verdict
    assert [path.name for path in task.folder.parent.iterdir()] == [task.folder.name]  # nothing hidden is left


def test_finished_series_is_not_done_again(make_tasks):
    (task,) = make_tasks(1)
    outcome = run_series(task)
    before = {file: file.stat().st_mtime_ns for file in task.folder.rglob("*")}

    assert run_series(task) == outcome
    assert {file: file.stat().st_mtime_ns for file in task.folder.rglob("*")} == before


def test_one_that_another_worker_completes_meanwhile_stands(make_tasks, monkeypatch):
    (task,) = make_tasks(1)
    other = dataclasses.replace(task, options=JobOptions(preset="fast", config=task.options.config, seed=9))

    def write_and_meanwhile(*arguments, **keywords):
        monkeypatch.undo()
        assert run_series(other).error is None
        return write_series(*arguments, **keywords)

    monkeypatch.setattr("nsn2n.jobs.dicom_job.write_series", write_and_meanwhile)
    outcome = run_series(task)

    assert outcome.error is None
    assert outcome == finished_before(other)
    assert "seed 9" in pydicom.dcmread(_derived(task)[0]).DerivationDescription


def test_refused_series_leaves_nothing(make_tasks):
    _, task = make_tasks(2, damaged=(1,))

    outcome = run_series(task)

    assert "Rows" in outcome.error
    assert "\n" not in outcome.error
    assert list(task.folder.parent.iterdir()) == []


def test_failed_check_is_reported_with_its_verdict(make_tasks, monkeypatch):
    (task,) = make_tasks(1)
    task = dataclasses.replace(task, options=dataclasses.replace(task.options, report=False))
    denoise = JobOptions.denoise

    def failing(self, stack, **keywords):
        result = denoise(self, stack, **keywords)
        record = {**result.record, "structure": {**result.record["structure"], "verdict": "fail"}}
        return SimpleNamespace(volume=result.volume, record=record, summary=result.summary)

    monkeypatch.setattr(JobOptions, "denoise", failing)
    outcome = run_series(task)

    assert outcome.verdict == "fail"
    assert "structure check says fail" in outcome.error
    assert not task.folder.exists()


def test_fault_of_the_program_tells_no_values(make_tasks, monkeypatch):
    (task,) = make_tasks(1)

    def broken(self, stack, **keywords):
        raise ValueError("Doe^Jane")

    monkeypatch.setattr(JobOptions, "denoise", broken)
    outcome = run_series(task)

    assert "ValueError" in outcome.error
    assert "Doe" not in outcome.error


def test_other_version_is_refused(make_tasks):
    (task,) = make_tasks(1)

    outcome = run_series(dataclasses.replace(task, version="0.0.9"))

    assert "the same version of nsn2n" in outcome.error
    assert "0.0.9" in outcome.error


def test_warnings_of_the_job_are_kept(make_tasks):
    first, second = make_tasks(2)
    for file in second.series.source.files[:1]:
        header = pydicom.dcmread(file)
        header.BurnedInAnnotation = "YES"
        header.save_as(file)

    run_series(first)
    outcome = run_series(second)

    assert any("text" in remark for remark in outcome.remarks), outcome


def test_number_of_a_series_that_is_there_is_not_given_twice(make_tasks):
    first, second = make_tasks(2)
    assert run_series(first).error is None
    assert pydicom.dcmread(_derived(first)[0]).SeriesNumber == 1001

    # It would get 1001 too, if it did not look.
    for file in second.series.source.files:
        header = pydicom.dcmread(file)
        header.SeriesNumber = 1
        header.save_as(file)
    run_series(second)

    assert pydicom.dcmread(_derived(second)[0]).SeriesNumber == 1002


def test_full_disk_or_closed_folder_is_one_line(make_tasks, tmp_path, bound_by_permissions):
    (task,) = make_tasks(1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out").chmod(0o555)
    with bound_by_permissions():
        outcome = run_series(task)
    (tmp_path / "out").chmod(0o755)

    assert "must be a writable folder" in outcome.error
    assert list((tmp_path / "out").iterdir()) == []


def test_killed_worker_leaves_nothing_that_looks_like_a_result(make_tasks, tmp_path):
    """Killed when the images are there and the report is not; the next worker removes what is left, and completes."""
    (task,) = make_tasks(1)
    code = f"""
import os, signal
from nsn2n.batch.series_list import find_series
from nsn2n.batch.task import SeriesTask
from nsn2n.batch.run_series import run_series
from nsn2n.jobs import dicom_job
from nsn2n.jobs.options import JobOptions
from pathlib import Path
dicom_job.write_quality_report = lambda *a: os.kill(os.getpid(), signal.SIGKILL)
options = JobOptions(preset="fast", config={dict(task.options.config)!r})
found = find_series({str(tmp_path / "trial")!r}, options)
run_series(SeriesTask(series=found.series[0], output=Path({str(tmp_path / "out")!r}), options=options))
"""
    killed = subprocess.run([sys.executable, "-c", code], timeout=120, check=False, env=dict(os.environ))
    assert killed.returncode == -signal.SIGKILL
    (left,) = task.folder.parent.iterdir()
    assert left.name.startswith(".nsn2n-")
    assert list(left.rglob("IM*.dcm"))
    assert finished_before(task) is None

    assert run_series(task).error is None
    assert [path.name for path in task.folder.parent.iterdir()] == [task.folder.name]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"verdict": "pass"}', '{"remarks": [], "other": 1}'])
def test_damaged_outcome_is_none(make_tasks, content):
    (task,) = make_tasks(1)
    task.folder.mkdir(parents=True)
    (task.folder / OUTCOME_FILE).write_text(content)

    assert finished_before(task) is None
    assert f"{task.folder} has no readable outcome.json" in run_series(task).error
    assert (task.folder / OUTCOME_FILE).read_text() == content
