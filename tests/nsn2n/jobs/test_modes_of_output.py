# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""All that a run writes is as closed to others as its source is."""

from __future__ import annotations

import os
import stat
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.nifti_job import denoise_nifti
from nsn2n.jobs.options import JobOptions

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}, "refit": {"steps": 3}}
run = partial(denoise, config=BRIEF, device="cpu")


@pytest.fixture(autouse=True)
def umask():
    """The usual one, whoever runs the tests."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def _modes(paths):
    return {stat.S_IMODE(path.stat().st_mode) for path in paths}


@pytest.mark.parametrize(("mode", "folder_mode"), [(0o600, 0o700), (0o400, 0o700), (0o644, 0o755)])
def test_series_and_what_comes_beside_it(make_series, tmp_path, mode, folder_mode):
    files = make_series(np.rint(np.random.default_rng(5).normal(140, 20, (5, 48, 40))))
    for file in files:
        file.chmod(0o644)
    files[2].chmod(mode)

    (outcome,) = denoise_folder(
        files[0].parent, tmp_path / "out", JobOptions(parametric_map=True, structured_report=True), denoise=run
    )

    new = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(new) == len(outcome.written.files) + 4  # map, measurements, and a report of two files
    assert _modes(new) == {mode}
    assert _modes({path.parent for path in new if path.suffix == ".dcm"}) == {folder_mode}


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_nifti_file(tmp_path, mode):
    volume = np.random.default_rng(3).normal(100, 10, (20, 24, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(volume, np.diag([1.0, 1.0, 4.0, 1.0])), tmp_path / "in.nii.gz")
    (tmp_path / "in.nii.gz").chmod(mode)

    assert _modes([denoise_nifti(tmp_path / "in.nii.gz", tmp_path / "out", denoise=run)]) == {mode}
