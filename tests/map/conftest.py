# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The container engine, the image, and folders to mount."""

from __future__ import annotations

import os
import shutil
import subprocess

import numpy as np
import pytest

from nsn2n._version import __version__
from nsn2n.synthetic.dicom_series import write_synthetic_series


@pytest.fixture(scope="session")
def docker():
    """A function that runs `docker` and gives its result."""

    def run(*arguments, timeout=120):
        command = ["docker", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)

    return run


@pytest.fixture(scope="session")
def image(docker):
    """The name of an image that is there."""
    name = os.environ.get("NSN2N_MAP_IMAGE", f"nsn2n:{__version__}")
    if not shutil.which("docker") or docker("info").returncode:
        pytest.skip("no container engine answers; the image is not tested")
    if docker("image", "inspect", name).returncode:
        pytest.skip(f"there is no image {name}, so it is not tested; make map")
    return name


@pytest.fixture
def folders(tmp_path):
    """Input with one volume, and an empty output that anyone may write to, both reachable for any user."""
    for path in (tmp_path, *tmp_path.parents[:2]):
        path.chmod(path.stat().st_mode | 0o011)
    source, output = tmp_path / "in", tmp_path / "out"
    y, x = np.mgrid[:24, :20]
    disk_hw = np.where((y - 10) ** 2 + (x - 12) ** 2 < 36, 40.0, -900.0)
    noise = np.random.default_rng(1).normal(0, 25, (5, 24, 20))
    write_synthetic_series(np.rint(disk_hw + noise), source, series_number=2, study_uid="2.25.77", seed="map")
    output.mkdir()
    output.chmod(0o777)
    return source, output
