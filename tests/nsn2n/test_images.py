# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

import nsn2n
from nsn2n.errors import VolumeError
from nsn2n.images import volume_of_image

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
VALUES = np.random.default_rng(3).normal(100, 10, (20, 5, 24)).astype(np.float32)
SPACING = (1.0, 4.0, 1.5)
"""Slices lie along the second axis."""
EXPECTED = VALUES.transpose(1, 2, 0)


def _run(volume, **more):
    return nsn2n.denoise(volume, config=BRIEF, device="cpu", **more)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image, nib.MGHImage])
def test_an_image_of_nibabel_comes_back_as_one(kind):
    affine = np.array([[1.0, 0, 0, 5], [0, -4.0, 0, 6], [0, 0, 1.5, 7], [0, 0, 0, 1]])

    result = _run(kind(VALUES, affine))

    assert type(result.image) is kind
    np.testing.assert_array_equal(result.volume, _run(EXPECTED, spacing_mm=(4.0, 1.5, 1.0)).volume)
    np.testing.assert_array_equal(np.asarray(result.image.dataobj), result.volume.transpose(2, 0, 1))
    np.testing.assert_allclose(result.image.affine, affine, atol=1e-6)


def test_scaled_numbers_are_taken_as_values_and_header_texts_kept(tmp_path):
    stored = nib.Nifti1Image(np.rint(VALUES).astype(np.int16), np.diag([*SPACING, 1]))
    stored.header.set_slope_inter(2.0, -1.0)
    stored.header["descrip"] = b"thin"
    nib.save(stored, tmp_path / "a.nii")

    image = nib.load(tmp_path / "a.nii")
    result = _run(image)
    nib.save(result.image, tmp_path / "b.nii")

    again = nib.load(tmp_path / "b.nii")
    assert bytes(again.header["descrip"]).startswith(b"thin")
    np.testing.assert_array_equal(again.get_fdata(dtype=np.float32), result.volume.transpose(2, 0, 1))
    assert abs(result.volume.mean() - image.get_fdata().mean()) < 2


def test_an_image_of_simpleitk_comes_back_as_one():
    itk = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: nsn2n[files]")
    image = itk.GetImageFromArray(VALUES.T)
    image.SetSpacing(SPACING)
    image.SetOrigin((3.0, 4.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    image.SetMetaData("Protocol", "thin")

    result = _run(image)

    assert isinstance(result.image, itk.Image)
    np.testing.assert_array_equal(result.volume, _run(EXPECTED, spacing_mm=(4.0, 1.5, 1.0)).volume)
    np.testing.assert_array_equal(itk.GetArrayFromImage(result.image), result.volume.transpose(2, 0, 1).T)
    assert (result.image.GetOrigin(), result.image.GetDirection()) == (image.GetOrigin(), image.GetDirection())
    assert result.image.GetSpacing() == SPACING
    assert result.image.GetMetaData("Protocol") == "thin"


def test_an_array_has_no_image():
    assert _run(EXPECTED).image is None
    assert volume_of_image(EXPECTED) is None


def test_an_image_says_its_spacing_itself():
    with pytest.raises(VolumeError, match="an image must be passed without spacing_mm"):
        _run(nib.Nifti1Image(VALUES, np.eye(4)), spacing_mm=(1, 1, 1))


@pytest.mark.parametrize("array", [np.zeros((4, 5, 6, 2), np.float32), np.zeros((4, 5, 6), np.complex64)])
def test_what_is_not_one_volume_of_real_numbers_is_refused(array):
    with pytest.raises(VolumeError, match="must hold one volume of real numbers"):
        volume_of_image(nib.Nifti1Image(array, np.eye(4)))


def test_an_array_needs_neither_package():
    code = (
        "import sys, numpy, nsn2n\n"
        f"nsn2n.denoise(numpy.random.default_rng(0).normal(size=(3, 16, 16)), config={BRIEF!r}, device='cpu')\n"
        "assert not {'nibabel', 'SimpleITK'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
