# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The wheel runs with the lowest versions that pyproject.toml allows, and with the newest that there are.

Each environment has a PyTorch with its CUDA libraries, since the index has no other for Linux on x86-64: 5 GB each.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nsn2n._version import __version__
from tests.wheel import ROOT, build_wheel, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.slow

NEEDED_BYTES = 20 << 30
"""Of the disk: both environments, and uv's cache of what is in them."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module", params=["lowest-direct", "highest"])
def environment(request, uv, wheel, tmp_path_factory):
    """A folder with an environment; it is removed at the end."""
    folder = tmp_path_factory.mktemp(request.param)
    if shutil.disk_usage(folder).free < NEEDED_BYTES:
        pytest.skip(f"less than {NEEDED_BYTES >> 30} GB of the disk are free")
    uv("venv", "--python", sys.executable, folder)
    # Binary packages only: what installs needs no compiler.
    into = ("pip", "install", "--python", folder, "--no-build")
    uv(*into, "--resolution", request.param, "-r", wheel.parent / "source" / "pyproject.toml")
    uv(*into, "--no-deps", wheel)
    uv(*into, "pytest", "hypothesis")
    uv("pip", "check", "--python", folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def installed(environment, uv):
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", environment))
    return {canonicalize_name(one["name"]): Version(one["version"]) for one in listed}


def test_versions_are_at_the_bounds(environment, installed):
    lines = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    requirements = [Requirement(line) for line in lines]
    at_bound = set()
    for one in requirements:
        version = installed[canonicalize_name(one.name)]
        assert version in one.specifier
        bounds = [bound.version for bound in one.specifier if bound.operator == ">="]
        if version in map(Version, bounds):
            at_bound.add(one.name)

    if "highest" in environment.name:
        assert "torch" not in at_bound
    elif sys.version_info < (3, 12):  # for later ones some of the lowest have no binary packages
        assert at_bound == {one.name for one in requirements if ">=" in str(one.specifier)}


def test_command_says_its_version(environment, tmp_path):
    assert run([str(environment / "bin" / "nsn2n"), "--version"], cwd=tmp_path) == f"nsn2n {__version__}\n"


@pytest.fixture(scope="module")
def python(environment, tmp_path_factory):
    """Run Python in a copy of the tests, away from the sources."""
    away = tmp_path_factory.mktemp("away")
    shutil.copytree(ROOT / "tests", away / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", away)
    program = str(environment / "bin" / "python")

    def command(*arguments):
        return run([program, *arguments], cwd=away, OMP_NUM_THREADS="1")

    assert Path(command("-c", "import nsn2n; print(nsn2n.__file__)").strip()).is_relative_to(environment)
    return command


def test_dicom_and_nifti_are_denoised(python):
    python("tests/install/installed.py", "denoise")


def test_unit_tests_pass_against_the_installed_wheel(python):
    assert " passed" in python("tests/install/installed.py", "tests").splitlines()[-1]


@pytest.mark.parametrize("environment", ["lowest-direct"], indirect=True, scope="module")
def test_pip_leaves_an_allowed_torch_alone(environment, installed, uv, wheel, tmp_path):
    """As where PyTorch was installed for the GPU at hand: with no index to take another from, nothing is missing."""
    uv("pip", "uninstall", "--python", environment, "nsn2n")
    python = str(environment / "bin" / "python")
    run([sys.executable, "-m", "pip", "--python", python, "install", str(wheel)], cwd=tmp_path)
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", environment))

    assert {canonicalize_name(one["name"]): Version(one["version"]) for one in listed} == installed
    assert installed["torch"] < Version("2.5")
