# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Every Python command of benchmarks/README.md, and each that stands inline in another page, with the least to do.

Blocks of other pages are run by tests/test_docs.py, what `make bench` runs by test_run.py.
"""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from cases import DATA

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
HEAD = DATA / "mr-t1-head" / "t1.nii.gz"

LEAST = {
    "python benchmarks/tune.py": "--size tiny --methods curvature-flow --cases ct-lowdose-quarter",
    "python benchmarks/low_contrast.py": "--size tiny --methods tv --seeds 1",
    "python benchmarks/anatomy.py": "--methods gaussian --slices 2 --crop 96 --cases pet",
    "python benchmarks/equal_loss.py": "--cases ct-abdomen --methods gaussian --preset fast --slices 2 --crop 96",
    "python benchmarks/faint_discs.py": "--presets fast --slices 2 --budget 0.1",
    "python benchmarks/at_once.py": "--runs 1 --repeats 1 --shape 3 32 32 --preset fast --budget 0.1",
    "python benchmarks/batch.py": "--workers 1 --series 2 --simulated 200 --on 5",
    "python benchmarks/cores.py": "--threads 1 --repeats 1 --shape 3 32 32 --preset fast --budget 0.1",
    "python benchmarks/gpu.py": "--device cpu --shape 3 32 32 --modalities PT",
    "python benchmarks/many_volumes.py": "--modalities PT --preset fast --states 2 --budget 0.1",
    "python benchmarks/stopping.py": "--size tiny --cases ct-lowdose-full --steps 20 --budget 0.1",
    "python benchmarks/edge_spots.py": "--size tiny --cases ct-lowdose-full --methods identity",
    "python benchmarks/stacks.py --preset fast": "--size tiny --only volumes --budget 0.1",
    "python benchmarks/structure.py": "--size tiny --cases checkerboard --presets fast --seeds 1 --budget 0.1",
    "python benchmarks/viewer.py": "--shape 3 96 96 --repeats 1",
    "python -m tests.nsn2n.dicom.fuzz --seconds 600": "--seconds 0",
    "python -m tests.nsn2n.files.fuzz --seconds 600": "--seconds 0",
}
"""What is added to each."""
SHOWN = {
    "python benchmarks/tune.py": "iterations 40",
    "python benchmarks/low_contrast.py": "│ tv ",
    "python benchmarks/anatomy.py": "│ gaussian │",
    "python benchmarks/equal_loss.py": "│ gaussian │ px ",
    "python benchmarks/faint_discs.py": "│ fast ",
    "python benchmarks/at_once.py": "│ yes ",
    "python benchmarks/batch.py": "│ retried after a worker died ",
    "python benchmarks/gpu.py": "│ structure check",
    "python benchmarks/cores.py": "│ yes ",
    "python benchmarks/many_volumes.py": "│ the same ",
    "python benchmarks/stopping.py": "│ ct-lowdose-full │",
    "python benchmarks/edge_spots.py": "│ identity ",
    "python benchmarks/stacks.py --preset fast": "volume 4 of 4: noisy ",
    "python benchmarks/structure.py": "│ fast: ",
    "python benchmarks/viewer.py": "page, MB",
    "python -m tests.nsn2n.dicom.fuzz --seconds 600": "seeds 0 to 0: ",
    "python -m tests.nsn2n.files.fuzz --seconds 600": "seeds 0 to 0: ",
}


def commands():
    """Blocks of benchmarks/README.md, and what stands inline there and in other pages."""
    found = set(re.findall(r"^(?:.*`)?(python [^`\n]*)`?", _text("benchmarks/README.md"), flags=re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))):
        inline = re.findall(r"`(python\s(?:-m\stests|benchmarks)[^`]*)`", _text(page))
        found |= {" ".join(command.split()) for command in inline}
    return found


def _text(page):
    return (ROOT / page).read_text(encoding="utf-8")


def test_every_command_is_run_below():
    assert commands() == set(LEAST) == set(SHOWN)


@pytest.mark.parametrize("command", [command for command in LEAST if " -m " not in command])
def test_script(command, monkeypatch, capsys):
    """In this process: a new one for each would spend most of its time on imports. run.py has one, in test_run.py."""
    if "stacks" in command and not HEAD.is_file():
        pytest.skip(f"needs {HEAD}")
    words = [*command.split()[1:], *LEAST[command].split()]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", words)
    monkeypatch.setenv("COLUMNS", "120")

    try:
        runpy.run_path(words[0], run_name="__main__")
    except SystemExit as stopped:
        if stopped.code:
            pytest.fail(f"exit code {stopped.code}")

    assert SHOWN[command] in capsys.readouterr().out


@pytest.mark.parametrize("command", [command for command in LEAST if " -m " in command])
def test_module(command):
    words = [*command.split()[1:], *LEAST[command].split()]

    result = subprocess.run([sys.executable, *words], cwd=ROOT, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stderr
    assert SHOWN[command] in result.stdout
