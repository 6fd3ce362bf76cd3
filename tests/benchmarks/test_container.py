# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of the container: what it reads from the messages of a run."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from nsn2n._version import __version__
from nsn2n.dicom.selection.scan import scan_folder

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
IMPORTS = [
    "import time: self [us] | cumulative | imported package",
    "import time:      1500 |       1500 |     pydicom.tag",
    "import time:      2500 |       4000 |   pydicom",
    f"nsn2n {__version__}, settings of app.yaml",
    "import time:    300000 |     300000 |   torch._C",
    "import time:    100000 |     400000 | torch",
    "import time:      7000 |       7000 |   monai.deploy.core",
    "denoising 3 x 32 x 32 voxels: preset fast",
    "import time:      9000 |       9000 | late",
]


@pytest.fixture(scope="module")
def container():
    spec = importlib.util.spec_from_file_location("container", BENCHMARKS / "container.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["container"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def run(container):
    lines = [(10.0 + index, line) for index, line in enumerate(IMPORTS)]
    return container.Run(
        asked=9.0, started=9.5, ended=30.0, lines=lines, code=0, threads=4, peak_bytes=1, group_peak_bytes=None
    )


def test_imports_are_distinguished_by_what_they_delay(container, run):
    before, after = (container.import_seconds(lines) for lines in container.phases(run))

    assert before == pytest.approx(Counter(pydicom=0.004))
    assert after == pytest.approx(Counter({"torch": 0.4, "monai.deploy": 0.007}))
    assert container.shown(after) == "0.41: torch 0.40, monai.deploy 0.01"


def test_a_message_that_never_came_ends_the_benchmark(run):
    assert run.time_of("denoising") == 17.0
    with pytest.raises(SystemExit, match="must say 'written'; it said: import time"):
        run.time_of("written")


def test_synthetic_series_has_the_shape_that_was_asked_for(container, tmp_path):
    folder = container.synthetic("3x20x24", tmp_path / "series")

    (series,) = scan_folder(folder).series
    assert len(series.files) == 3


def test_the_watch_sees_memory_threads_messages_and_exit_code(container):
    program = "import sys, threading, time\n"
    program += "[threading.Thread(target=time.sleep, args=(0.5,)).start() for _ in range(3)]\n"
    program += "held = bytearray(200_000_000); print('one', file=sys.stderr); sys.exit(3)"
    command = [sys.executable, "-I", "-S", "-c", container.WATCH, sys.executable, "-I", "-S", "-c", program]

    seen = container.json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert seen["code"] == 3
    assert [line for _, line in seen["lines"]] == ["one"]
    assert 200e6 < seen["peak_bytes"] < 300e6
    assert seen["threads"] == 4
    assert seen["started"] < seen["lines"][0][0] < seen["ended"]
