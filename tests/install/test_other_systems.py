# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Without what only Linux has: the same pixels, and tests that pass.

The programs run with ``without_linux/sitecustomize.py``: no fcntl, resource and SIGHUP, no /proc and /sys, and no
folder that can be opened or locked. Windows and macOS themselves are for ``.github/workflows/tests.yml``.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import numpy as np
import pydicom
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series

ROOT = Path(__file__).resolve().parents[2]
WITHOUT_LINUX = Path(__file__).parent / "without_linux"

# What is below `nsn2n denoise`, without tests of locks, signals, permissions and memory as Linux has them.
TESTS = (
    *(
        "dicom/read",
        "dicom/selection",
        "dicom/write/test_derive.py",
        "files/test_nifti.py",
        "files/test_volume_files.py",
    ),
    *("runtime/test_config_loading.py", "runtime/test_paths.py"),
)
# These make a pipe, give up the rights of root, or look for the lock of a run that was killed.
OF_LINUX = "no_image_is_listed or unreadable_file_is_listed or stopped_run_left or without_permission"
SETTINGS = "fit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n"
"""Not a budget: the number of steps would follow from the time that the first ones took."""


def _python(*arguments: object, cwd: Path, without_linux: bool = True) -> str:
    # Of pytest's plugins, one imports os.getuid where it finds Linux.
    without = {"PYTHONPATH": str(WITHOUT_LINUX), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    environment = {**os.environ, **(without if without_linux else {})}
    command = [sys.executable, *map(str, arguments)]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, f"{command}:\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture
def volume(tmp_path):
    (tmp_path / "brief.yaml").write_text(SETTINGS)
    return np.random.default_rng(0).normal(40, 25, (3, 32, 32)).astype(np.float32)


def test_what_only_linux_has_is_gone(tmp_path):
    """Else the tests below would prove nothing."""
    code = """
import importlib.util, os, signal
try:
    import fcntl
except ImportError:
    print("no fcntl")
print(hasattr(os, "sched_getaffinity"), hasattr(signal, "SIGHUP"), os.path.exists("."))
for path in ("/proc/meminfo", "."):
    try:
        os.open(path, os.O_RDONLY)
    except OSError as error:
        print(type(error).__name__)
"""
    said = _python("-c", code, cwd=tmp_path).splitlines()

    assert said == ["no fcntl", "False False True", "FileNotFoundError", "PermissionError"]


def test_a_dicom_series_gets_the_same_pixels(tmp_path, volume):
    write_synthetic_series(volume, tmp_path / "study", seed="r")
    # As a killed run leaves it. Whether another is at work in it cannot be known without locks: it stays.
    left = tmp_path / "without" / ".nsn2n-left"
    left.mkdir(parents=True)
    for folder in ("with", "without"):
        _python(
            "-m",
            "nsn2n",
            "denoise",
            "study",
            folder,
            "--config",
            "brief.yaml",
            cwd=tmp_path,
            without_linux=folder == "without",
        )
    with_linux, without = (sorted((tmp_path / name).glob("2.25.*/*.dcm")) for name in ("with", "without"))

    assert len(with_linux) == len(without) == 3
    for one, other in zip(with_linux, without, strict=True):
        assert np.array_equal(pydicom.dcmread(one).pixel_array, pydicom.dcmread(other).pixel_array)
    assert len(list((tmp_path / "without" / "reports").glob("2.25.*/report.html"))) == 1
    assert left.is_dir()
    assert [path.name for path in (tmp_path / "without").glob(".*")] == [left.name]


def test_a_nifti_file_gets_the_same_values(tmp_path, volume):
    nibabel.save(nibabel.Nifti1Image(volume.T, np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / "in.nii.gz")
    for name in ("with.nii.gz", "without.nii.gz"):
        _python(
            *("-m", "nsn2n", "denoise", "in.nii.gz", name, "--modality", "CT", "--config", "brief.yaml"),
            cwd=tmp_path,
            without_linux=name == "without.nii.gz",
        )
    one, other = (nibabel.load(tmp_path / name).get_fdata() for name in ("with.nii.gz", "without.nii.gz"))

    assert np.array_equal(one, other)
    assert not np.array_equal(one, volume.T)


def test_the_function_denoises(tmp_path, volume):
    np.save(tmp_path / "volume.npy", volume)
    code = """
import numpy, nsn2n, yaml
settings = yaml.safe_load(open("brief.yaml", encoding="utf-8"))
result = nsn2n.denoise(numpy.load("volume.npy"), modality="CT", config=settings)
print(result.volume.shape, numpy.isfinite(result.volume).all())
"""
    assert _python("-c", code, cwd=tmp_path) == "(3, 32, 32) True\n"


@pytest.mark.slow
def test_the_tests_of_what_reads_and_writes_pass(tmp_path):
    tests = [ROOT / "tests" / "nsn2n" / name for name in TESTS]
    options = (
        "-m",
        "not slow",
        "-k",
        f"not ({OF_LINUX})",
        "-q",
        "-p",
        "no:cacheprovider",
        "--basetemp",
        tmp_path / "base",
    )

    said = _python("-m", "pytest", *options, *tests, cwd=ROOT)

    assert " passed" in said.splitlines()[-1]
