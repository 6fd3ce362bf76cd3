# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat
from functools import partial

import nibabel as nib
import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.errors import NSN2NError, SettingsError, VolumeError
from nsn2n.files.nifti import read_nifti
from nsn2n.files.volume_files import read_volume
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.volume_file_job import denoise_volume_file, new_files

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
run = partial(denoise, config=BRIEF, device="cpu")


@pytest.fixture
def source(tmp_path):
    """Slices lie along the second voxel axis, 4 mm apart."""
    volume = np.random.default_rng(3).normal(100, 10, (20, 5, 24)).astype(np.float32)
    volume[3, 2, 4] = np.nan
    image = nib.Nifti1Image(volume, np.diag([1.0, 4.0, 1.5, 1.0]))
    nib.save(image, tmp_path / "t1.nii")
    return tmp_path / "t1.nii"


@pytest.mark.parametrize(
    ("name", "expected"), [("a.nii", True), ("a.nii.gz", True), ("a.gz", False), ("nii", False), ("a.nii/b", False)]
)
def test_names_of_nifti_files(source, tmp_path, name, expected):
    """Any other name is that of a folder."""
    target = new_files(source, tmp_path / "new" / name).volume
    assert (target.name != source.name) is expected


def test_the_file_holds_what_the_method_gives(source, tmp_path):
    target = denoise_volume_file(source, tmp_path / "new" / "out.nii.gz", denoise=run)

    assert target == tmp_path / "new" / "out.nii.gz"
    # Slices first: the second voxel axis; then rows before columns: the last before the first.
    volume_dhw = nib.load(source).get_fdata(dtype=np.float32).transpose(1, 2, 0)
    expected = run(volume_dhw, spacing_mm=(4.0, 1.5, 1.0)).volume
    np.testing.assert_array_equal(read_nifti(target).stack.values, expected)
    assert np.isnan(nib.load(target).get_fdata()[3, 2, 4])


def test_progress_reaches_the_end(source, tmp_path):
    seen = []

    denoise_volume_file(
        source, tmp_path / "out", denoise=run, progress=lambda fraction, seconds_left: seen.append(fraction)
    )

    assert seen == sorted(seen)
    assert seen[-1] == 1.0


@pytest.mark.parametrize(
    ("denoiser", "error", "message"),
    [
        (partial(denoise, config={"fit": {"steps": 0}}), SettingsError, "fit.steps must be"),
        (partial(denoise, device="abacus"), NSN2NError, "device must be one of auto, cpu, cuda; got 'abacus'"),
    ],
)
def test_a_failure_leaves_no_folder(source, tmp_path, denoiser, error, message):
    with pytest.raises(error, match=message):
        denoise_volume_file(source, tmp_path / "new" / "out.nii", denoise=denoiser)

    assert [path.name for path in tmp_path.iterdir()] == ["t1.nii"]


def test_output_below_a_file(source, tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(NSN2NError, match="is a file"):
        denoise_volume_file(source, tmp_path / "file" / "out.nii", denoise=run)


def test_the_input_by_another_name(source, tmp_path):
    (tmp_path / "link.nii").symlink_to(source)
    before = source.read_bytes()

    with pytest.raises(VolumeError, match="the input itself"):
        denoise_volume_file(source, tmp_path / "link.nii", denoise=run)

    assert source.read_bytes() == before


def test_each_volume_over_time_is_denoised_apart(tmp_path, caplog):
    caplog.set_level("INFO")
    volumes = np.random.default_rng(8).normal(200, 12, (20, 22, 5, 3)).astype(np.float32)
    nib.save(nib.Nifti1Image(volumes, np.diag([1.0, 1.0, 3.0, 1.0])), tmp_path / "bold.nii.gz")

    apart = partial(denoise, config={**BRIEF, "fit": {**BRIEF["fit"], "reuse": False}}, device="cpu")
    target = denoise_volume_file(tmp_path / "bold.nii.gz", tmp_path / "out", denoise=apart)

    found = nib.load(target).get_fdata(dtype=np.float32)
    for index in range(3):
        alone = run(volumes[..., index].transpose(2, 1, 0), spacing_mm=(3.0, 1.0, 1.0)).volume
        np.testing.assert_array_equal(found[..., index], alone.transpose(2, 1, 0))
    assert "3 volumes of 5 slices; each is denoised separately" in caplog.text


@pytest.mark.parametrize("dtype", [np.int32, np.float64])
def test_values_far_from_zero_are_denoised_as_they_are_near_it(tmp_path, dtype):
    near = np.random.default_rng(9).normal(0, 18, (20, 22, 6)).round()
    results = []
    for name, far in (("near", 10_000), ("far", 1_500_000_000)):
        nib.save(nib.Nifti1Image((near + far).astype(dtype), np.diag([1.0, 1.0, 2.0, 1.0])), tmp_path / f"{name}.nii")
        target = denoise_volume_file(tmp_path / f"{name}.nii", tmp_path / "out", denoise=run)
        results.append(np.asarray(nib.load(target).dataobj).astype(np.float64) - far)

    assert results[0].std() < 0.8 * near.std()
    assert np.abs(results[1] - results[0]).max() < 0.3 * near.std()  # the fit sees other last digits


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_new_file_is_as_closed_as_its_source(source, tmp_path, umask, mode):
    source.chmod(mode)

    target = denoise_volume_file(source, tmp_path / "out", denoise=run)

    assert stat.S_IMODE(target.stat().st_mode) == mode


@pytest.mark.parametrize("name", ["t1.mgz", "t1.nrrd", "t1.mha", "t1.mhd"])
def test_other_formats_hold_what_nifti_would(source, tmp_path, name):
    if not name.endswith("mgz"):
        pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: nsn2n[files]")
    stack = read_nifti(source).stack
    written = _converted(source, tmp_path / name)

    target = denoise_volume_file(written, tmp_path / "out", denoise=run)

    assert target == tmp_path / "out" / name
    expected = run(stack.values, spacing_mm=(4.0, 1.5, 1.0)).volume
    np.testing.assert_array_equal(read_volume(target).stack.values, expected)
    np.testing.assert_allclose(read_volume(target).affine, read_volume(written).affine)


def _converted(source, path):
    image = nib.load(source)
    if path.suffix == ".mgz":
        nib.save(nib.MGHImage(image.get_fdata(dtype=np.float32), image.affine), path)
        return path
    import SimpleITK

    made = SimpleITK.GetImageFromArray(image.get_fdata(dtype=np.float32).T)
    made.SetSpacing([float(one) for one in image.header.get_zooms()])
    SimpleITK.WriteImage(made, str(path))
    return path


@pytest.mark.parametrize("name", ["out.mgz", "out.mha"])
def test_the_output_is_of_the_format_of_the_input(source, tmp_path, name):
    with pytest.raises(VolumeError, match=r"must have the format of the input, NIfTI \(\.nii or \.nii\.gz\)"):
        denoise_volume_file(source, tmp_path / name, denoise=run)


def test_voxels_beside_a_header_are_not_overwritten(tmp_path):
    (tmp_path / "out.raw").write_bytes(b"precious")
    with pytest.raises(VolumeError, match=r"out\.raw is an existing file"):
        new_files(tmp_path / "t1.mhd", tmp_path / "out.mhd")


def test_residual_and_noise_are_files_of_the_same_format(source, tmp_path):
    options = JobOptions(residual=True, noise_map=True)

    target = denoise_volume_file(source, tmp_path / "new" / "out.nii.gz", options, denoise=run)

    names = ["out.nii.gz", "out_noise-sd.nii.gz", "out_residual.nii.gz"]
    assert sorted(path.name for path in target.parent.iterdir()) == names
    new, noise, residual = (read_volume(target.with_name(name)) for name in names)
    before = read_nifti(source).stack.values
    finite = np.isfinite(before)
    np.testing.assert_array_equal(residual.stack.values[finite], (before - new.stack.values)[finite])
    assert (residual.stack.values[~finite] == 0).all()
    np.testing.assert_array_equal(noise.stack.values, run(before, spacing_mm=(4.0, 1.5, 1.0)).noise_sd)
    np.testing.assert_array_equal(residual.affine, new.affine)


def test_a_residual_that_is_there_is_not_overwritten(source, tmp_path):
    (tmp_path / "out_residual.nii").write_bytes(b"precious")
    with pytest.raises(VolumeError, match=r"out_residual\.nii is an existing file"):
        denoise_volume_file(source, tmp_path / "out.nii", JobOptions(residual=True), denoise=run)
    assert not (tmp_path / "out.nii").exists()


def test_voxels_outside_of_the_mask_take_no_part(source, tmp_path):
    image = nib.load(source)
    mask = np.zeros(image.shape, np.uint8)
    mask[4:16, :, 4:20] = 1
    nib.save(nib.Nifti1Image(mask, image.affine), tmp_path / "mask.nii.gz")
    data = image.get_fdata(dtype=np.float32)
    targets = []
    for name, outside in (("a", data), ("b", np.where(mask == 1, data, 5000))):
        nib.save(nib.Nifti1Image(outside.astype(np.float32), image.affine), tmp_path / f"{name}.nii")
        options = JobOptions(mask=tmp_path / "mask.nii.gz")
        target = denoise_volume_file(tmp_path / f"{name}.nii", tmp_path / "out", options, denoise=run)
        targets.append(nib.load(target).get_fdata(dtype=np.float32))
        np.testing.assert_array_equal(targets[-1][mask == 0], outside[mask == 0])
    inside = (mask == 1) & np.isfinite(data)
    np.testing.assert_array_equal(targets[0][inside], targets[1][inside])
    assert (targets[0][inside] != data[inside]).any()


@pytest.mark.parametrize(
    ("shape", "affine", "value", "match"),
    [
        ((20, 5, 23), np.diag([1.0, 4.0, 1.5, 1.0]), 1, "must have the shape of the input"),
        ((20, 5, 24), np.diag([-1.0, 4.0, 1.5, 1.0]), 1, "must be on the voxel grid of the input"),
        ((20, 5, 24), np.diag([1.0, 4.0, 1.5, 1.0]), 0, "must hold values other than 0"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(source, tmp_path, shape, affine, value, match):
    nib.save(nib.Nifti1Image(np.full(shape, value, np.uint8), affine), tmp_path / "mask.nii")
    with pytest.raises(VolumeError, match=match):
        denoise_volume_file(source, tmp_path / "out", JobOptions(mask=tmp_path / "mask.nii"), denoise=run)
    assert not (tmp_path / "out").exists()
