# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fetching of wheels with the real pip, from indices that are folders here; no network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from map import fetch_wheels
from tests.map.package_index import list_page, locked, publish, use_alone

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The ordinary index, with the CUDA build of PyTorch; pip knows no other. Of both Pythons there is a lock."""
    index = tmp_path / "index"
    cpu = locked(publish(tmp_path / "cpu", "torch", "2.13.0+cpu"))
    gpu = locked(publish(index, "torch", "2.13.0", requires=["cudart"]), "===")
    gpu += locked(publish(index, "cudart", "1.5"))
    others = locked(publish(index, "other", "1.5")) + locked(publish(index, "pip", "1.5"))
    publish(index, "other", "1.6")
    locks = tmp_path / "lock"
    locks.mkdir()
    (locks / "cpu-3.11.txt").write_text(f"# a lock\n{cpu}{others}")
    (locks / "gpu-3.11.txt").write_text(gpu + others)
    (locks / "tools.txt").write_text(locked(publish(index, "tool", "1.5")))
    use_alone(monkeypatch, index)
    monkeypatch.setattr(fetch_wheels, "LOCKS", locks)
    monkeypatch.setattr(fetch_wheels, "TOOLS", locks / "tools.txt")
    return index


@pytest.fixture
def cpu_builds(index, monkeypatch):
    """The index of CPU builds of PyTorch. Its other packages must not be taken."""
    builds = index.parent / "cpu"
    publish(builds, "other", "1.5", content="another one")
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", builds.as_uri())
    return builds


def _fetch(monkeypatch, folder, *options):
    monkeypatch.setattr(sys, "argv", ["fetch_wheels.py", str(folder), "--python-version", "3.11", *options])
    return fetch_wheels.main()


def _names(folder):
    return {path.name.removesuffix("-py3-none-any.whl") for path in folder.iterdir()}


@pytest.mark.usefixtures("index", "cpu_builds")
def test_the_cpu_build_comes_from_its_own_index_and_all_else_does_not(tmp_path, monkeypatch):
    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0+cpu", "other-1.5", "pip-1.5", "tool-1.5"}


def test_a_cpu_build_on_the_ordinary_index_is_enough(index, tmp_path, monkeypatch):
    publish(index, "torch", "2.13.0+cpu")
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", (tmp_path / "none").as_uri())

    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0+cpu", "other-1.5", "pip-1.5", "tool-1.5"}


@pytest.mark.usefixtures("cpu_builds")
@pytest.mark.parametrize("also_a_cpu_build", [False, True])
def test_the_gpu_build_and_its_libraries(index, tmp_path, monkeypatch, also_a_cpu_build):
    """Where a CPU build of the version can be had too, it counts as the newer one."""
    if also_a_cpu_build:
        publish(index, "torch", "2.13.0+cpu")

    assert _fetch(monkeypatch, tmp_path / "wheels", "--gpu") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0", "cudart-1.5", "other-1.5", "pip-1.5", "tool-1.5"}


@pytest.mark.parametrize("name", ["torch", "other", "tool"])
def test_a_wheel_with_other_content_is_refused(index, cpu_builds, tmp_path, monkeypatch, capfd, name):
    if name == "torch":
        publish(cpu_builds, "torch", "2.13.0+cpu", content="not what was locked")
    else:
        publish(index, name, "1.5", content="not what was locked")

    assert _fetch(monkeypatch, tmp_path / "wheels") != 0

    message = capfd.readouterr().err
    assert "DO NOT MATCH THE HASHES" in message
    assert "error: the wheels could not be fetched" in message
    assert not (tmp_path / "wheels").exists()


@pytest.mark.usefixtures("cpu_builds")
def test_a_failure_is_reported_and_what_was_there_stays(index, tmp_path, monkeypatch, capfd):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch-2.12.0-py3-none-any.whl").touch()
    (index / "other" / "index.html").write_text("")

    assert _fetch(monkeypatch, tmp_path / "wheels") != 0

    assert "error: the wheels could not be fetched" in capfd.readouterr().err
    assert _names(tmp_path / "wheels") == {"torch-2.12.0"}


def test_without_a_lock_nothing_is_fetched(index, tmp_path, monkeypatch, capfd):
    (tmp_path / "lock" / "cpu-3.11.txt").unlink()

    assert _fetch(monkeypatch, tmp_path / "wheels") == 1

    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: wheels are fetched by a lock; there is no ")
    assert line.endswith("cpu-3.11.txt --python-version 3.11")
    assert list(tmp_path.glob("wheels*")) == []


@pytest.mark.usefixtures("cpu_builds")
def test_another_lock_can_be_named(index, tmp_path, monkeypatch):
    lock = tmp_path / "own.txt"
    lock.write_text(locked(tmp_path / "cpu" / "torch" / "torch-2.13.0+cpu-py3-none-any.whl"))

    assert _fetch(monkeypatch, tmp_path / "wheels", "--lock", str(lock)) == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0+cpu", "tool-1.5"}


@pytest.mark.usefixtures("index", "cpu_builds")
def test_old_wheels_go_when_new_ones_are_there(tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch-2.12.0-py3-none-any.whl").touch()

    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert "torch-2.12.0" not in _names(tmp_path / "wheels")


@pytest.mark.usefixtures("index")
def test_options_of_pip_reach_it(cpu_builds, tmp_path, monkeypatch):
    """As `make map PIP_INSTALL_ARGS=--extra-index-url ...` passes them."""
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", (tmp_path / "none").as_uri())
    for path in (cpu_builds / "other").iterdir():
        path.unlink()

    assert _fetch(monkeypatch, tmp_path / "wheels", "--extra-index-url", cpu_builds.as_uri()) == 0

    assert "torch-2.13.0+cpu" in _names(tmp_path / "wheels")


@pytest.mark.usefixtures("cpu_builds")
def test_wheels_for_another_python_are_asked_for(index, tmp_path, monkeypatch):
    """The Python of the image counts, not the one that fetches."""
    lock = tmp_path / "lock" / "cpu-3.10.txt"
    lock.write_text((tmp_path / "lock" / "cpu-3.11.txt").read_text())
    wheel = index / "other" / "other-1.5-py3-none-any.whl"
    wheel.rename(wheel.with_name("other-1.5-cp310-cp310-linux_x86_64.whl"))
    list_page(index / "other")
    folder = tmp_path / "wheels"
    monkeypatch.setattr(sys, "argv", ["fetch_wheels.py", str(folder), "--python-version", "3.10"])

    assert fetch_wheels.main() == 0
    assert _fetch(monkeypatch, tmp_path / "other wheels") != 0

    assert (folder / "other-1.5-cp310-cp310-linux_x86_64.whl").is_file()


def test_it_runs_without_the_package():
    """On a machine that only fetches: any Python with pip."""
    command = [sys.executable, "-I", str(ROOT / "map" / "fetch_wheels.py"), "--help"]

    assert "--gpu" in subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
