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

import nibabel
import numpy as np
import pydicom
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from nsn2n._version import __version__
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.wheel import ROOT, build_wheel, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

pytestmark = pytest.mark.slow

NEEDED_BYTES = 20 << 30
"""Of the disk: both environments, and uv's cache of what is in them."""

TESTS = ("noise", "stages", "training", "dicom/read", "dicom/write/test_derive.py", "stack/test_parts.py")
# The networks of MONAI come with an extra; how often the average of PyTorch itself reads its count differs.
NOT_OF_THE_BASE = "unet or padding_leaves_slices or waits_for_no_gpu"


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


def _nsn2n(environment: Path, *arguments: object, cwd: Path) -> str:
    program = str(environment / "bin" / "nsn2n")
    return run([program, *map(str, arguments)], cwd=cwd, OMP_NUM_THREADS="1")


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
    assert _nsn2n(environment, "--version", cwd=tmp_path) == f"nsn2n {__version__}\n"


def test_dicom_and_nifti_are_denoised(environment, tmp_path):
    (tmp_path / "brief.yaml").write_text("fit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    volume = np.random.default_rng(0).normal(40, 25, (3, 32, 32)).astype(np.float32)
    write_synthetic_series(volume, tmp_path / "study", seed="r")
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "in.nii.gz")

    options = ("--config", "brief.yaml")
    folder = _nsn2n(environment, "denoise", "study", "out", "--compress", "jpeg-ls", *options, cwd=tmp_path)
    _nsn2n(environment, "denoise", "in.nii.gz", "out.nii.gz", "--modality", "CT", *options, cwd=tmp_path)

    files = sorted((tmp_path / folder.strip()).glob("*.dcm"))
    stack = np.stack([pydicom.dcmread(file).pixel_array for file in files])
    assert stack.shape == (3, 32, 32)
    report = json.loads((tmp_path / "out" / "reports" / Path(folder.strip()).name / "report.json").read_text())
    assert report["structure"]["verdict"] in ("pass", "review")
    new = nibabel.load(tmp_path / "out.nii.gz").get_fdata().T
    assert new.std() < 0.95 * volume.std()
    assert abs(new.mean() - volume.mean()) < 1


def test_unit_tests_pass_against_the_installed_wheel(environment, tmp_path):
    checkout = tmp_path / "checkout"
    shutil.copytree(ROOT / "tests", checkout / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", checkout)
    python = str(environment / "bin" / "python")
    place = run([python, "-c", "import nsn2n; print(nsn2n.__file__)"], cwd=checkout)
    assert Path(place.strip()).is_relative_to(environment)

    options = ("-q", "-p", "no:cacheprovider", "-m", "not slow", "-k", f"not ({NOT_OF_THE_BASE})")
    tests = [f"tests/nsn2n/{name}" for name in TESTS]
    said = run([python, "-m", "pytest", *options, *tests], cwd=checkout, OMP_NUM_THREADS="1")

    assert " passed" in said.splitlines()[-1]


def test_pip_leaves_an_allowed_torch_alone(environment, installed, uv, wheel, tmp_path):
    """As where PyTorch was installed for the GPU at hand: with no index to take another from, nothing is missing."""
    if "highest" in environment.name:
        pytest.skip("the newest torch would stay anyway")
    uv("pip", "uninstall", "--python", environment, "nsn2n")
    python = str(environment / "bin" / "python")
    run([sys.executable, "-m", "pip", "--python", python, "install", str(wheel)], cwd=tmp_path)
    listed = json.loads(uv("pip", "list", "--format", "json", "--python", environment))

    assert {canonicalize_name(one["name"]): Version(one["version"]) for one in listed} == installed
    assert installed["torch"] < Version("2.5")
