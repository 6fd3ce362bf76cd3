# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A dry run says what the run then does."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pydicom
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series


def _volume(seed=0):
    return np.random.default_rng(seed).normal(40, 20, (6, 24, 20))


@pytest.fixture
def study(tmp_path):
    """Two volumes, and one that lacks too many slices."""
    folder = tmp_path / "study"
    options = {"seed": "plan", "spacing_mm": (2.0, 0.5, 0.75)}
    for number in (1, 2):
        write_synthetic_series(_volume(), folder, series_number=number, **options)
    files = write_synthetic_series(_volume(1), folder, series_number=3, **options)
    files[1].unlink()
    files[4].unlink()
    return folder


def test_the_run_does_what_the_dry_run_says(nsn2n, study, tmp_path, brief_config):
    options = [study, tmp_path / "out", "--config", brief_config, "--series-number-offset", 1]
    options += ["--series-description-suffix", "clean", "--research-mark", "--compress", "rle"]
    plan = nsn2n("denoise", *options, "--dry-run")
    assert plan.code == 0
    assert not (tmp_path / "out").exists()

    run = nsn2n("denoise", *options)

    assert run.code == 3
    headers = [pydicom.dcmread(next((tmp_path / "out" / folder).iterdir())) for folder in run.stdout.splitlines()]
    said = re.findall(r'as series (\d+) "(.*)"', plan.stdout)
    assert said == [(str(header.SeriesNumber), header.SeriesDescription) for header in headers]
    assert [number for number, _ in said] == ["4", "5"]  # 2 and 3 are there
    assert plan.stdout.count("6 x 24 x 20 voxels of 2 x 0.5 x 0.75 mm") == 2
    assert plan.stdout.count("6 files, RLE Lossless") == 2
    assert plan.stdout.count("  refused: ") == 1
    assert "missing slices" in plan.stdout
    assert "\n    steps: 12\n" in plan.stdout


def test_numbers_of_an_earlier_run_are_known(nsn2n, study, tmp_path, brief_config):
    options = ["denoise", study, tmp_path / "out", "--config", brief_config]
    nsn2n(*options)
    before = sorted(tmp_path.rglob("*"))

    plan = nsn2n(*options, "--dry-run")

    assert re.findall(r"as series (\d+)", plan.stdout) == ["1003", "1004"]
    assert sorted(tmp_path.rglob("*")) == before


def test_exit_code_where_nothing_would_be_done(nsn2n, study, tmp_path):
    for file in study.glob("S000[12]*"):
        file.unlink()

    result = nsn2n("denoise", study, tmp_path / "out", "--dry-run")

    assert result.code == 1
    assert "refused: " in result.stdout


def test_output_that_cannot_be_written_is_said_now(nsn2n, study, tmp_path):
    (tmp_path / "out").touch()

    result = nsn2n("denoise", study, tmp_path / "out", "--dry-run")

    assert result.code == 1
    assert "out is a file" in result.stderr


def test_a_nifti_file(nsn2n, tmp_path):
    nib.save(nib.Nifti1Image(np.ones((20, 24, 5), np.float32), np.eye(4)), tmp_path / "t1.nii")

    result = nsn2n("denoise", tmp_path / "t1.nii", tmp_path / "new", "--dry-run", "--strength", 0.5)

    assert result.code == 0, result.stderr
    assert result.stdout.splitlines()[:3] == [
        str(tmp_path / "t1.nii"),
        "  5 x 24 x 20 voxels (slices, rows, columns)",
        f"  to {tmp_path / 'new' / 't1.nii'}",
    ]
    assert "  strength: 0.5" in result.stdout
    assert not (tmp_path / "new").exists()


def test_derivatives_of_bids(nsn2n, tmp_path, brief_config):
    source, out = tmp_path / "raw" / "sub-01" / "anat" / "sub-01_T1w.nii", tmp_path / "raw" / "derivatives" / "nsn2n"
    source.parent.mkdir(parents=True)
    values = np.random.default_rng(2).normal(200, 20, (20, 24, 5)).astype(np.float32)
    nib.save(nib.Nifti1Image(values, np.diag([1, 1, 2, 1])), source)
    (tmp_path / "raw" / "dataset_description.json").write_text('{"Name": "Raw", "BIDSVersion": "1.8.0"}')
    arguments = ["denoise", source, out, "--bids", "--noise-map", "--config", brief_config]
    plan = nsn2n(*arguments, "--dry-run")
    assert plan.code == 0, plan.stderr
    assert not out.exists()

    run = nsn2n(*arguments)

    assert run.code == 0, run.stderr
    assert run.stdout == f"{out}/sub-01/anat/sub-01_desc-denoised_T1w.nii\n"
    written = sorted(str(file) for file in out.rglob("*") if file.is_file())
    assert sorted(re.findall(r"^  (?:to|and) (.*)$", plan.stdout, re.MULTILINE)) == written
    assert len(written) == 5


def test_pytorch_is_not_loaded(nsn2n, study, tmp_path, monkeypatch):
    import builtins

    real = builtins.__import__

    def without_torch(name, *arguments, **keywords):
        assert name.split(".")[0] not in ("torch", "monai", "holoscan"), name
        return real(name, *arguments, **keywords)

    monkeypatch.setattr(builtins, "__import__", without_torch)

    assert nsn2n("denoise", study, tmp_path / "out", "--dry-run").code == 0


def test_volumes_over_time_of_a_nifti_file(nsn2n, tmp_path):
    nib.save(nib.Nifti1Image(np.zeros((8, 7, 5, 3), np.int16), np.diag([1, 1, 2, 1])), tmp_path / "a.nii")
    plan = nsn2n("denoise", tmp_path / "a.nii", tmp_path / "b.nii", "--dry-run")
    assert plan.code == 0
    assert "3 volumes of 5 x 7 x 8 voxels (slices, rows, columns)" in plan.stdout


@pytest.mark.parametrize("dry_run", [[], ["--dry-run"]])
def test_a_nifti_file_that_would_fill_the_memory_is_refused_in_one_line(nsn2n, tmp_path, monkeypatch, dry_run):
    monkeypatch.setattr("nsn2n.runtime.memory.available_bytes", lambda: 300 << 20)
    nib.save(nib.Nifti1Image(np.zeros((300, 300, 60), np.uint8), np.diag([1, 1, 2, 1])), tmp_path / "a.nii.gz")
    done = nsn2n("denoise", tmp_path / "a.nii.gz", tmp_path / "b.nii.gz", *dry_run)
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "a.nii.gz must fit into memory" in done.stderr


@pytest.mark.parametrize("name", ["a.mnc", "a.hdr", "a.nhdr", "a.nii.zst"])
def test_a_file_of_another_format_is_refused_with_what_to_do(nsn2n, tmp_path, name):
    (tmp_path / name).write_bytes(b"anything")
    done = nsn2n("denoise", tmp_path / name, tmp_path / "out", "--dry-run")
    assert (done.code, done.stdout) == (1, "")
    assert done.stderr.count("\n") == 1
    assert "must be a single .nii, .nii.gz, .mgz, .mgh, .nrrd, .mha or .mhd file" in done.stderr
