# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The locks of the image agree with requirements.txt; new ones are written by the real pip from a folder."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from map import fetch_wheels, lock
from tests.map.package_index import locked, publish, use_alone

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted(path for path in (ROOT / "map" / "lock").glob("*.txt") if path.name != "tools.txt")
LINE = re.compile(r"(?P<name>[a-z0-9-]+)={2,3}(?P<version>\S+) --hash=sha256:[0-9a-f]{64}")
PYTHON = f"{sys.version_info[0]}.{sys.version_info[1]}"


def _requirements(path):
    return [Requirement(line) for line in path.read_text().splitlines() if line and not line.startswith("#")]


def _versions(path):
    """Names and versions of a lock, each of whose lines must have one hash."""
    _, *lines = path.read_text().splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert all(found), path
    versions = {match["name"]: match["version"] for match in found}
    assert len(versions) == len(lines), path
    return versions


def test_there_is_one_for_each_image_that_can_be_built():
    names = {f"{kind}-{version}" for kind in ("cpu", "gpu") for version in ("3.10", "3.11", "3.12", "3.13")}

    # docs/container.md says how to make the one that is not there.
    assert names - {"cpu-3.10"} <= {path.stem for path in LOCKS} <= names


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem)
def test_it_has_what_is_required(path):
    """After a change of requirements.txt: make lock."""
    versions = _versions(path)

    for requirement in _requirements(ROOT / "requirements.txt"):
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        assert requirement.specifier.contains(versions[name], prereleases=True), f"{requirement}: make lock"
    assert "pip" in versions
    gpu = path.stem.startswith("gpu")
    assert versions["torch"].endswith("+cpu") is not gpu
    assert ("triton" in versions) is gpu


def test_tools_have_what_is_required():
    versions = _versions(ROOT / "map" / "lock" / "tools.txt")

    for requirement in _requirements(ROOT / "map" / "tools.txt"):
        assert requirement.specifier.contains(versions[requirement.name])


@pytest.fixture
def index(tmp_path, monkeypatch):
    """An index with both builds of PyTorch, and the requirements; the Python of the tests is on PATH."""
    index = tmp_path / "index"
    publish(index, "torch", "2.13.0+cpu", requires=["other"])
    publish(index, "torch", "2.13.0", requires=["other", "cudart"])
    publish(index, "other", "1.5", requires=[f"old; python_version < '{PYTHON}'", "Needed.Here"])
    publish(index, "other", "1.6", requires=["absent"])
    for name in ("cudart", "old", "needed_here", "pip"):
        publish(index, name, "1")
    (tmp_path / "requirements.txt").write_text("# what the image installs\ntorch==2.13.0\nother<1.6\n")
    use_alone(monkeypatch, index)
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(lock, "ROOT", tmp_path)
    monkeypatch.setattr(fetch_wheels, "CPU_BUILDS_OF_TORCH", (tmp_path / "none").as_uri())
    return index


def _lock(monkeypatch, file, *options):
    monkeypatch.setattr(sys, "argv", ["lock.py", str(file), "--python-version", PYTHON, *options])
    return lock.main()


def _line(index, name, version, equal="=="):
    (wheel,) = index.glob(f"*/{name}-{version}-py3-none-any.whl")
    return locked(wheel, equal)


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_versions_and_hashes_of_what_is_required(index, tmp_path, monkeypatch, kind):
    assert _lock(monkeypatch, tmp_path / "lock.txt", *(["--gpu"] if kind == "gpu" else [])) == 0

    torch = {
        "cpu": [_line(index, "torch", "2.13.0+cpu")],
        "gpu": [_line(index, "cudart", "1"), _line(index, "torch", "2.13.0", "===")],
    }
    others = [_line(index, "needed_here", "1"), _line(index, "other", "1.5"), _line(index, "pip", "1")]
    comment, *lines = (tmp_path / "lock.txt").read_text().splitlines(keepends=True)
    assert comment.startswith("#")
    assert lines == sorted(others + torch[kind])


def test_another_file_is_locked_without_pytorch_and_pip(index, tmp_path, monkeypatch):
    (tmp_path / "tools.in").write_text("cudart\n")

    assert _lock(monkeypatch, tmp_path / "tools.txt", "--requirement", str(tmp_path / "tools.in")) == 0

    assert (tmp_path / "tools.txt").read_text().splitlines(keepends=True)[1:] == [_line(index, "cudart", "1")]


def test_of_wheels_that_one_has(index, tmp_path, monkeypatch):
    """Here another build of the same version, which the index does not have."""
    own = publish(tmp_path / "own", "torch", "2.13.0+cpu", content="own")
    for name, version in (("other", "1.5"), ("needed_here", "1"), ("pip", "1")):
        publish(tmp_path / "own", name, version)
    options = ["--no-index", *(word for page in (tmp_path / "own").iterdir() for word in ("--find-links", str(page)))]

    assert _lock(monkeypatch, tmp_path / "lock.txt", *options) == 0

    assert locked(own) in (tmp_path / "lock.txt").read_text()
    assert locked(own) != _line(index, "torch", "2.13.0+cpu")


def test_a_failure_is_reported_and_the_old_lock_stays(index, tmp_path, monkeypatch, capfd):
    (index / "needed-here" / "index.html").write_text("")
    (tmp_path / "lock.txt").write_text("old")

    assert _lock(monkeypatch, tmp_path / "lock.txt") == 1

    assert capfd.readouterr().err.splitlines()[-1].startswith(f"error: a lock needs python{PYTHON} on PATH")
    assert (tmp_path / "lock.txt").read_text() == "old"
