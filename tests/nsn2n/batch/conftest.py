# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Small series, tasks of them, and the command as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from nsn2n.batch.series_list import find_series
from nsn2n.batch.task import SeriesTask
from nsn2n.jobs.options import JobOptions
from nsn2n.synthetic.dicom_series import write_synthetic_series

BRIEF = {"fit": {"steps": 12, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}

# Of a cluster that other machines cannot reach, to which the command needs the token.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "5" * 64,
    "OMP_NUM_THREADS": "1",
}


@pytest.fixture(scope="module")
def environment():
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT)
    yield ENVIRONMENT
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture
def write_trial(tmp_path):
    """Write so many series, two in each study, and return their folder."""

    def write(count, name="trial", *, damaged=(), **options):
        for index in range(count):
            volume = np.random.default_rng(index).normal(40, 20, (3, 32, 32))
            files = write_synthetic_series(
                volume, tmp_path / name / f"{index // 2}", seed=f"trial-{index}", series_number=index % 2 + 1,
                study_uid=f"2.25.{100 + index // 2}", **options,
            )  # fmt: skip
            if index in damaged:
                header = pydicom.dcmread(files[1])
                header.Rows = 16
                header.save_as(files[1])
        return tmp_path / name

    return write


@pytest.fixture
def make_tasks(tmp_path, write_trial):
    """Tasks of so many series."""

    def make(count, **options):
        chosen = JobOptions(preset="fast", config=BRIEF)
        found = find_series(str(write_trial(count, **options)), chosen)
        return [SeriesTask(series=series, output=tmp_path / "out", options=chosen) for series in found.series]

    return make


@pytest.fixture
def batch(tmp_path):
    """Begin ``nsn2n batch`` as a process, in a group of its own."""
    config = tmp_path / "config.yaml"
    config.write_text("preset: fast\nfit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    started = []

    def begin(*arguments, env=None):
        for_ray = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "JOB_"))}
        process = subprocess.Popen(
            [sys.executable, "-m", "nsn2n", "batch", *map(str, arguments), "--config", str(config)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
            env={**for_ray, **(env or {})},
        )  # fmt: skip
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def pixels():
    """The pixels of each new series of a folder, by the series number and study of the new one."""

    def read(folder: Path):
        found = {}
        for file in sorted(folder.rglob("IM*.dcm")):
            header = pydicom.dcmread(file)
            key = (str(header.StudyInstanceUID), int(header.SeriesNumber))
            found.setdefault(key, []).append((int(header.InstanceNumber), header.PixelData))
        return {key: sorted(slices) for key, slices in found.items()}

    return read
