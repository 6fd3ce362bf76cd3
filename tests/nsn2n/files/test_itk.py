# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import numpy as np
import pytest

from nsn2n.errors import NSN2NError, VolumeError
from nsn2n.files.itk import read_itk
from nsn2n.files.volume_files import write_volume

SimpleITK = pytest.importorskip("SimpleITK", reason="SimpleITK is not installed: nsn2n[files]")

DIRECTION = (0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0)
NAMES = ["a.nrrd", "a.mha", "a.mhd"]


def _image(dtype=np.int16, shape_kji=(3, 5, 4), seed=0):
    array = np.random.default_rng(seed).integers(0, 200, shape_kji).astype(dtype)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.0, 1.5, 3.0))
    image.SetDirection(DIRECTION)
    image.SetOrigin((7.0, -8.0, 9.5))
    image.SetMetaData("Protocol", "axial thin")
    return image


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_unchanged_values_give_the_same_files(tmp_path, name, dtype, compressed):
    (tmp_path / "new").mkdir()
    SimpleITK.WriteImage(_image(dtype), str(tmp_path / name), useCompression=compressed)
    files = sorted(path.name for path in tmp_path.glob("a.*"))

    volume = read_itk(tmp_path / name)
    write_volume(tmp_path / "new" / name, volume.stack.values.copy(), volume)

    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == files
    for file in files:
        before, after = ((folder / file).read_bytes() for folder in (tmp_path, tmp_path / "new"))
        assert _lines(after) == _lines(before)


def _lines(content):
    """What stands in a header in any order, and the voxels."""
    return sorted(content.split(b"\n"))


@pytest.mark.parametrize("name", NAMES)
def test_geometry_is_that_of_simpleitk(tmp_path, name):
    image = _image()
    SimpleITK.WriteImage(image, str(tmp_path / name))

    volume = read_itk(tmp_path / name)

    assert volume.axes == (2, 1, 0)
    assert volume.stack.spacings_mm == (pytest.approx((3.0, 1.5, 1.0)),)
    np.testing.assert_array_equal(volume.stack.values, SimpleITK.GetArrayFromImage(image))
    for index in [(0, 0, 0), (3, 2, 1)]:
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        np.testing.assert_allclose(volume.affine @ [*index, 1], [-x, -y, z, 1])  # RAS


def test_new_values_and_maps(tmp_path):
    SimpleITK.WriteImage(_image(), str(tmp_path / "a.mhd"))
    volume = read_itk(tmp_path / "a.mhd")
    values = volume.stack.values + np.float32(0.4)

    write_volume(tmp_path / "b.mhd", values, volume, maps={"b_map.mhd": values})

    new, made = (SimpleITK.ReadImage(str(tmp_path / name)) for name in ("b.mhd", "b_map.mhd"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(new), volume.stack.values.astype(np.int16))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(made), values)
    assert made.GetDirection() == DIRECTION
    assert made.GetMetaData("Protocol") == "axial thin"


def test_volumes_over_time(tmp_path):
    image = SimpleITK.JoinSeries([_image(seed=0), _image(seed=1)])
    SimpleITK.WriteImage(image, str(tmp_path / "a.nrrd"))
    volume = read_itk(tmp_path / "a.nrrd")
    assert volume.stack.parts == (3, 3)

    write_volume(tmp_path / "b.nrrd", volume.stack.values + 1, volume)

    new = SimpleITK.ReadImage(str(tmp_path / "b.nrrd"))
    assert new.GetSize() == image.GetSize()
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(new), SimpleITK.GetArrayFromImage(image) + 1)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (lambda: SimpleITK.Image(4, 4, SimpleITK.sitkInt16), "must hold a volume"),
        (lambda: SimpleITK.Image([4, 4, 3], SimpleITK.sitkVectorUInt8, 3), "it holds 3 numbers"),
    ],
)
def test_what_is_no_volume_of_gray_values(tmp_path, image, match):
    SimpleITK.WriteImage(image(), str(tmp_path / "a.nrrd"))
    with pytest.raises(VolumeError, match=match):
        read_itk(tmp_path / "a.nrrd")


@pytest.mark.parametrize("name", ["a.nrrd", "a.mha"])
def test_a_file_that_is_damaged_is_refused_in_one_line(tmp_path, name):
    SimpleITK.WriteImage(_image(), str(tmp_path / name))
    whole = (tmp_path / name).read_bytes()
    for content in (b"anything", b"", whole[:-50]):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(VolumeError, match=f"{name} cannot be read: ") as caught:
            read_itk(tmp_path / name)
        assert str(caught.value).isprintable()
    with pytest.raises(VolumeError, match="must be an existing file"):
        read_itk(tmp_path / f"no{name}")


def test_without_simpleitk_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(NSN2NError, match=r"pip install 'nsn2n\[files\]'"):
        read_itk(tmp_path / "a.nrrd")
