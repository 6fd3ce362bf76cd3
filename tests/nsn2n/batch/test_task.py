# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from nsn2n.batch.task import FoundSeries, RemoteSeries, SeriesTask
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.memory import process_bytes


def _task(uid="1.2.3", study="1.2", memory=None, **more):
    source = RemoteSeries("http://127.0.0.1/dicom-web", study, uid)
    series = FoundSeries(study, uid, "CT", 3, 120 * 512 * 512, source)
    return SeriesTask(series=series, output=Path("/out"), options=JobOptions(memory=memory), **more)


def test_folder_has_the_uids_of_the_source():
    assert _task().folder == Path("/out/1.2/1.2.3")


@pytest.mark.parametrize("uid", ["../../etc", "", "..", "1.2/../3", "1." * 40 + "1", "1.2.\n3", ".hidden"])
def test_what_is_no_uid_leads_nowhere_else(uid):
    folder = _task(uid=uid, study=uid).folder

    assert folder.parts[:2] == ("/", "out")
    assert len(folder.parts) == 4
    assert all(name.startswith("not-a-uid-") for name in folder.parts[2:])
    assert folder != _task(uid=f"{uid}x", study=uid).folder


def test_memory_grows_with_voxels_and_threads():
    one, two = _task(cpus=1).memory_bytes, _task(cpus=2).memory_bytes

    assert one == process_bytes(120 * 512 * 512, 1)
    assert 1081 << 20 <= one <= 2 * (1081 << 20)  # the peak that nsn2n/runtime/memory.py tells of such a series
    assert two > one


def test_a_memory_limit_bounds_the_estimate():
    assert _task(memory="900M").memory_bytes == 900 << 20
    assert _task(memory="64G").memory_bytes == _task().memory_bytes


def test_task_holds_no_pixels_when_it_is_sent(make_tasks):
    (task,) = make_tasks(1)

    assert len(pickle.dumps(task)) < 5000
    assert pickle.loads(pickle.dumps(task)) == task


def test_label_holds_no_description():
    assert _task().series.label == "CT series 3 (1.2.3)"
