# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fetching of wheels with the real pip, from indices that are folders here; no network."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from map import fetch_wheels

ROOT = Path(__file__).resolve().parents[2]
REQUIREMENTS = "# what the image installs\ntorch==2.13.0\nother>=1\n"


def _publish(index, name, version, requires=()):
    """Put a wheel on an index, which is a folder with a page for each name (PEP 503)."""
    page = index / name
    page.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    with zipfile.ZipFile(page / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    files = sorted(path.name for path in page.glob("*.whl"))
    (page / "index.html").write_text("".join(f'<a href="{name}">{name}</a>\n' for name in files))


@pytest.fixture
def index(tmp_path, monkeypatch):
    """The ordinary index, with the CUDA build of PyTorch; pip knows no other."""
    index = tmp_path / "index"
    _publish(index, "torch", "2.13.0", requires=["cudart"])
    for name in ("cudart", "other", "pip"):
        _publish(index, name, "1.5")
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.as_uri())
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
    (tmp_path / "requirements.txt").write_text(REQUIREMENTS)
    monkeypatch.setattr(fetch_wheels, "ROOT", tmp_path)
    return index


@pytest.fixture
def cpu_builds(tmp_path, monkeypatch):
    """The index of CPU builds of PyTorch. Its other packages must not be taken."""
    index = tmp_path / "cpu"
    _publish(index, "torch", "2.13.0+cpu")
    _publish(index, "other", "9.9")
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", index.as_uri())
    return index


def _fetch(monkeypatch, folder, *options):
    monkeypatch.setattr(sys, "argv", ["fetch_wheels.py", str(folder), "--python-version", "3.11", *options])
    return fetch_wheels.main()


def _names(folder):
    return {path.name.removesuffix("-py3-none-any.whl") for path in folder.iterdir()}


@pytest.mark.usefixtures("index", "cpu_builds")
def test_the_cpu_build_comes_from_its_own_index_and_all_else_does_not(tmp_path, monkeypatch):
    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0+cpu", "other-1.5", "pip-1.5"}


def test_a_cpu_build_on_the_ordinary_index_is_enough(index, tmp_path, monkeypatch):
    _publish(index, "torch", "2.13.0+cpu")
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", (tmp_path / "none").as_uri())

    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0+cpu", "other-1.5", "pip-1.5"}


@pytest.mark.usefixtures("index", "cpu_builds")
def test_the_gpu_build_brings_its_libraries(tmp_path, monkeypatch):
    assert _fetch(monkeypatch, tmp_path / "wheels", "--gpu") == 0

    assert _names(tmp_path / "wheels") == {"torch-2.13.0", "cudart-1.5", "other-1.5", "pip-1.5"}


def test_a_cpu_build_is_refused_for_a_gpu(index, tmp_path, monkeypatch, capfd):
    """Where the CPU build can be had too, pip prefers it."""
    _publish(index, "torch", "2.13.0+cpu")

    assert _fetch(monkeypatch, tmp_path / "wheels", "--gpu") != 0

    assert "needs the CUDA build of PyTorch" in capfd.readouterr().err
    assert not (tmp_path / "wheels").exists()


@pytest.mark.usefixtures("cpu_builds")
def test_a_failure_is_told_and_what_was_there_stays(index, tmp_path, monkeypatch, capfd):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch-2.12.0-py3-none-any.whl").touch()
    (index / "other" / "index.html").write_text("")

    assert _fetch(monkeypatch, tmp_path / "wheels") != 0

    assert "error: the wheels could not be fetched" in capfd.readouterr().err
    assert _names(tmp_path / "wheels") == {"torch-2.12.0"}


@pytest.mark.usefixtures("index", "cpu_builds")
def test_old_wheels_go_when_new_ones_are_there(tmp_path, monkeypatch):
    (tmp_path / "wheels").mkdir()
    (tmp_path / "wheels" / "torch-2.12.0-py3-none-any.whl").touch()

    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert "torch-2.12.0" not in _names(tmp_path / "wheels")


def test_options_of_pip_reach_it(index, cpu_builds, tmp_path, monkeypatch):
    """As `make map PIP_INSTALL_ARGS=--extra-index-url ...` passes them."""
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", (tmp_path / "none").as_uri())
    for path in (cpu_builds / "other").iterdir():
        path.unlink()

    assert _fetch(monkeypatch, tmp_path / "wheels", "--extra-index-url", cpu_builds.as_uri()) == 0

    assert "torch-2.13.0+cpu" in _names(tmp_path / "wheels")


def test_wheels_for_another_python_are_asked_for(index, cpu_builds, tmp_path, monkeypatch):
    """The Python of the image counts, not the one that fetches."""
    for version, tag in (("1.7", "cp310-cp310-linux_x86_64"), ("1.6", "cp311-cp311-linux_x86_64")):
        _publish(index, "other", version)
        old = index / "other" / f"other-{version}-py3-none-any.whl"
        old.rename(old.with_name(f"other-{version}-{tag}.whl"))
    files = sorted(path.name for path in (index / "other").glob("*.whl"))
    (index / "other" / "index.html").write_text("".join(f'<a href="{name}">{name}</a>\n' for name in files))

    assert _fetch(monkeypatch, tmp_path / "wheels") == 0

    assert (tmp_path / "wheels" / "other-1.6-cp311-cp311-linux_x86_64.whl").is_file()


def test_it_runs_without_the_package():
    """On a machine that only fetches: any Python with pip."""
    command = [sys.executable, "-I", str(ROOT / "map" / "fetch_wheels.py"), "--help"]

    assert "--gpu" in subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
