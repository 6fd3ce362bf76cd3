# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The wheel, built for tests of what is installed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run(
    command: Sequence[str], cwd: Path, *, timeout_s: float = 300, without: Sequence[str] = (), **environment: str
) -> str:
    """Run a command without what this Python was told by its environment, and some more; give what it printed.

    Raises
    ------
    AssertionError
        If it fails.
    """
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith("PYTHON") and name not in without
    }
    result = subprocess.run(
        command,
        cwd=cwd,
        env={**inherited, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


def build_wheel(folder: Path) -> Path:
    """Build a wheel in a folder from a copy, which stays there as ``source``; nothing is left in the checkout."""
    source = folder / "source"
    for name in ("nsn2n", "operators", "app", "models"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for pattern in ("*.toml", "*.txt", "LICENSE", "README*"):
        for path in ROOT.glob(pattern):
            shutil.copy(path, source)
    command = (sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps", "--no-index", str(source))
    run(command, cwd=folder)
    (built,) = folder.glob("nsn2n-*.whl")
    return built
