# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.files import format_of
from nsn2n.files.volume_files import read_volume, write_volume


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.nii", "NIfTI"),
        ("b/a.nii.gz", "NIfTI"),
        ("a.mgz", "MGH"),
        ("a.mgh", "MGH"),
        ("a.nrrd", "NRRD"),
        ("a.mha", "MetaImage"),
        ("a.mhd", "MetaImage"),
        ("a.nhdr", None),
        ("nii", None),
    ],
)
def test_a_name_says_the_format(name, kind):
    assert format_of(name) == kind


def test_each_name_has_its_reader(tmp_path):
    for name, reader in [("a.nii", "NIfTI"), ("a.mgz", "MGH"), ("a.nrrd", "a.nrrd"), ("a.mhd", "a.mhd")]:
        (tmp_path / name).write_bytes(b"anything")
        with pytest.raises(VolumeError, match=rf"{reader}\b.*Check or replace the file"):
            read_volume(tmp_path / name)
    with pytest.raises(VolumeError, match=r"must end in \.nii, \.nii\.gz, \.mgz, "):
        read_volume(tmp_path / "a.txt")


def test_maps_of_a_nifti_file_are_float_and_have_no_scaling(tmp_path):
    image = nib.Nifti1Image(np.full((4, 5, 3), 7, np.int16), np.diag([1, 1, 3, 1]))
    image.header["cal_max"] = 99
    image.header.set_slope_inter(2.0, -1.0)
    nib.save(image, tmp_path / "a.nii")
    volume = read_volume(tmp_path / "a.nii")
    values = np.random.default_rng(0).normal(size=(3, 5, 4)).astype(np.float32)

    write_volume(tmp_path / "b.nii", volume.stack.values, volume, maps={"b_map.nii": values})

    made = nib.load(tmp_path / "b_map.nii")
    assert made.get_data_dtype() == np.float32
    assert made.header["cal_max"] == 0
    np.testing.assert_array_equal(np.asarray(made.dataobj, np.float32), values.transpose(2, 1, 0))
    assert nib.load(tmp_path / "b.nii").header["cal_max"] == 99
