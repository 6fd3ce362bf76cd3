# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The image takes the wheels that its lock names, and no other; with the real pip, from its wheel as in the image."""

from __future__ import annotations

import ensurepip
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.map.package_index import locked, publish

ROOT = Path(__file__).resolve().parents[2]
REFUSED = (
    "error: the image takes only wheels that its lock names; above stands what differs. See LOCK in docs/container.md."
)


@pytest.fixture
def wheels(tmp_path):
    """A folder as `make map` gives it to the build: pip, what is installed, a tool, and the locks."""
    places = [Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels")]
    pip = next((wheel for place in places for wheel in place.glob("pip-*.whl")), None)
    if pip is None:
        pytest.skip("this Python brings no wheel of pip (Debian package python3-venv)")
    folder = tmp_path / "wheels"
    folder.mkdir()
    shutil.copy(pip, folder)
    (folder / "lock.txt").write_text(_add(folder, "one", requires=["two"]) + _add(folder, "two") + locked(pip))
    (folder / "tools.txt").write_text(_add(folder, "tool"))
    return folder


def _add(folder, name, **options):
    wheel = shutil.copy(publish(folder.parent / "index", name, "1", **options), folder)
    return locked(Path(wheel))


def _install(wheels):
    command = ["sh", ROOT / "map" / "install.sh", wheels, wheels.parent / "image", wheels.parent / "tools"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["PIP_CONFIG_FILE"] = os.devnull
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)


def test_two_environments_as_locked(wheels):
    result = _install(wheels)

    assert result.returncode == 0, result.stdout + result.stderr
    for name, expected in {"image": {"one", "two", "pip"}, "tools": {"tool"}}.items():
        found = {path.name.split("-")[0] for path in (wheels.parent / name).rglob("*.dist-info")}
        assert found == expected


@pytest.mark.parametrize("name", ["one", "tool", "pip"])
def test_another_wheel_of_that_name_is_refused(wheels, name):
    (wheel,) = wheels.glob(f"{name}-*.whl")
    wheel.write_bytes(wheel.read_bytes() + b"\n")

    result = _install(wheels)

    assert result.returncode != 0
    assert REFUSED in result.stderr.splitlines()


@pytest.mark.parametrize("name", ["two", "pip"])
def test_what_the_lock_does_not_name_is_refused(wheels, name):
    lines = (wheels / "lock.txt").read_text().splitlines(keepends=True)
    (wheels / "lock.txt").write_text("".join(line for line in lines if not line.startswith(name)))

    result = _install(wheels)

    assert result.returncode != 0
    assert REFUSED in result.stderr.splitlines()
