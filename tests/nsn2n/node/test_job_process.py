# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import signal
import subprocess
import sys

import pydicom
import pytest

from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.node.job_process import JobProcess
from tests.nsn2n.node.conftest import BRIEF
from tests.nsn2n.node.orthanc_server import until

OPTIONS = JobOptions.from_mapping({"config": BRIEF, "report": False})


@pytest.fixture
def process(tmp_path):
    """A function that starts one for a folder."""
    started = []

    def start(folder, **more):
        source = tmp_path / "work" / "source"
        source.parent.mkdir()
        os.symlink(folder, source)
        started.append(JobProcess(source, tmp_path / "new", OPTIONS, **{"longest_s": 100, **more}))
        return started[-1]

    yield start
    for one in started:
        one.stop()


def test_the_pixels_are_those_of_the_command(process, make_series, tmp_path):
    folder = make_series("job")[0].parent
    job = process(folder, taken_series_numbers=(1001, 1002))
    until(lambda: job.wait(0.1))

    answer = job.answer()
    assert answer.written
    assert answer.verdict in ("pass", "review")
    new = [pydicom.dcmread(file) for file in sorted((tmp_path / "new").rglob("*.dcm"))]
    assert {slice_.SeriesNumber for slice_ in new} == {1003}
    denoise_folder(folder, tmp_path / "here", OPTIONS)
    here = [pydicom.dcmread(file) for file in sorted((tmp_path / "here").rglob("*.dcm"))]
    assert [slice_.PixelData for slice_ in new] == [slice_.PixelData for slice_ in here]


def test_what_is_loaded_before_the_fork_does_not_touch_a_gpu():
    """A process cannot use a GPU that the one which it was forked off has begun to use."""
    code = (
        "import torch\n"
        "def refuse(*_): raise AssertionError('CUDA was asked')\n"
        "torch._C._cuda_getDeviceCount = torch._C._cuda_init = torch.cuda.is_available = refuse\n"
        "import importlib\n"
        "from nsn2n.node.job_process import PRELOADED\n"
        "for name in PRELOADED: importlib.import_module(name)\n"
        "print(torch.cuda.is_initialized())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)

    assert result.stdout == "False\n", result.stderr


def test_a_series_that_cannot_be_denoised_says_why(process, make_series):
    job = process(make_series("one slice", slices=1)[0].parent)
    until(lambda: job.wait(0.1))

    answer = job.answer()
    assert not answer.written
    assert not answer.is_fault
    assert "slices" in answer.reason
    assert "\n" not in answer.reason


def test_a_process_that_is_killed_has_no_answer(process, make_series):
    job = process(make_series("killed")[0].parent)
    os.kill(job.pid, signal.SIGKILL)
    until(lambda: job.wait(0.1))

    assert job.answer() is None
    assert job.why_it_crashed() == "its process was ended by SIGKILL"


def test_a_process_that_takes_too_long_is_ended(process, make_series):
    job = process(make_series("long")[0].parent, longest_s=0.001)
    until(lambda: job.wait(0))  # a job of so little may be done in less than any wait

    assert job.answer() is None
    assert job.why_it_crashed() == "it took longer than 0.001 s"
