# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NIfTI files keep everything but the values; nibabel's own scaling and SimpleITK are the judges."""

from __future__ import annotations

import gzip
import logging

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st

from nsn2n.errors import VolumeError
from nsn2n.files.nifti import read_nifti, write_nifti
from nsn2n.runtime.unfinished import remove_abandoned, unfinished_folders

OBLIQUE = np.array([[-0.7, 0.1, 0.6, 12.0], [0.2, 0.68, 0.9, -40.5], [0.05, -0.2, 2.9, 7.25], [0.0, 0.0, 0.0, 1.0]])


def _write(path, stored, *, affine=OBLIQUE, slope=None, inter=None, kind=nib.Nifti1Image, byte_order="<"):
    """Write stored numbers as they are, with a header full of values that are to survive."""
    header = kind.header_class(endianness=byte_order)
    header.set_data_dtype(stored.dtype)
    header.set_data_shape(stored.shape)
    image = kind(stored, None, header)
    image.set_sform(affine, code="scanner")
    image.set_qform(np.diag([-1.5, 1.25, 3.0, 1.0]), code="aligned")
    image.header.set_xyzt_units("mm", "sec")
    image.header["descrip"] = b"made for a test"
    image.header["cal_max"] = 123.0
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"an extension"))
    if slope is not None:
        image.header["scl_slope"], image.header["scl_inter"] = slope, inter
    nib.save(image, path)
    return path


def _content(path):
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


@st.composite
def _files(draw):
    spacing = [draw(st.sampled_from([0.5, 0.88, 1.0, 5.0])) for _ in range(3)]
    affine = OBLIQUE[:, [*draw(st.permutations(range(3))), 3]] if draw(st.booleans()) else np.diag([*spacing, 1.0])
    steps = np.linalg.norm(affine[:3, :3], axis=0)
    lengths = [draw(st.integers(1, 5)) for _ in range(3)]
    slice_axis = int(np.flatnonzero(steps == steps.max())[-1])
    lengths[slice_axis] = max(lengths[slice_axis], 2)  # a single slice is no volume
    shape = (*lengths, *draw(st.sampled_from([(), (1,), (1, 1)])))
    dtype = np.dtype(draw(st.sampled_from(["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])))
    byte_order = draw(st.sampled_from("<>"))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    if dtype.kind == "f":
        stored = generator.normal(0, 1000, shape).astype(dtype)
    else:
        limits = np.iinfo(dtype)
        stored = generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)
    scaling = draw(
        st.sampled_from([(None, None), (0.0, 0.0), (1.0, 0.0), (0.5, -1024.0), (-0.013, 7.0), (3.7e-5, 1.0e4)])
    )
    return {
        "stored": stored.astype(dtype.newbyteorder(byte_order)),
        "affine": affine,
        "slope": scaling[0],
        "inter": scaling[1],
        "kind": draw(st.sampled_from([nib.Nifti1Image, nib.Nifti2Image])),
        "byte_order": byte_order,
    }


@settings(max_examples=150)
@given(file=_files(), suffix=st.sampled_from([".nii", ".nii.gz"]))
def test_unchanged_volume_gives_the_same_file(tmp_path_factory, file, suffix):
    folder = tmp_path_factory.mktemp("nifti")
    source = _write(folder / f"in{suffix}", **file)

    volume = read_nifti(source)
    write_nifti(folder / f"out{suffix}", volume.stack.values.copy(), volume)

    expected = np.asarray(nib.load(source).dataobj, np.float64).reshape(file["stored"].shape[:3])
    values = volume.stack.values + volume.offset
    np.testing.assert_allclose(values, expected.transpose(volume.axes), rtol=1e-6, atol=1e-6 * abs(file["inter"] or 0))
    assert _content(folder / f"out{suffix}") == _content(source)


@settings(max_examples=100)
@given(file=_files(), seed=st.integers(0, 1000))
def test_new_values_are_stored_as_the_nearest_number(tmp_path_factory, file, seed):
    folder = tmp_path_factory.mktemp("nifti")
    volume = read_nifti(_write(folder / "in.nii", **file))
    slope, inter = (1.0, 0.0) if not file["slope"] else (file["slope"], file["inter"])
    slope, inter = float(np.float32(slope)), float(np.float32(inter))  # as the header of NIfTI-1 keeps them
    shift = np.random.default_rng(seed).normal(0, 3 * abs(slope), volume.stack.values.shape)
    values = (volume.stack.values + shift).astype(np.float32)

    write_nifti(folder / "out.nii", values, volume)

    written = nib.load(folder / "out.nii")
    assert written.get_data_dtype() == file["stored"].dtype
    assert written.shape == file["stored"].shape
    found = np.asarray(written.dataobj, np.float64).reshape(written.shape[:3]).transpose(volume.axes)
    values = values.astype(np.float64) + volume.offset
    tolerance = 1e-5 * np.abs(values).max() + 1e-5 * abs(inter)
    if file["stored"].dtype.kind != "f":
        limits = np.iinfo(file["stored"].dtype)
        ends = sorted((float(limits.min) * slope + inter, float(limits.max) * slope + inter))
        values = np.clip(values, *ends)
        tolerance += abs(slope) * 0.5001
    assert np.abs(found - values).max() <= tolerance


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_slice_axis_is_the_one_with_the_largest_spacing(tmp_path, axis):
    spacing = [0.7, 0.8, 0.9]
    spacing[axis] = 4.0
    stored = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5)

    volume = read_nifti(_write(tmp_path / "a.nii.gz", stored, affine=np.diag([*spacing, 1.0])))

    assert volume.axes[0] == axis
    assert volume.axes[1] > volume.axes[2]
    assert volume.stack.spacings_mm == (pytest.approx([spacing[a] for a in volume.axes]),)
    for index in range(stored.shape[axis]):
        np.testing.assert_array_equal(volume.stack.values[index], np.take(stored, index, axis).T)


def test_equal_spacings_take_the_last_axis(tmp_path):
    affine = np.diag([0.88000005, 0.88, 0.87999994, 1.0])

    volume = read_nifti(_write(tmp_path / "a.nii", np.zeros((3, 4, 5), np.uint8), affine=affine))

    assert volume.axes == (2, 1, 0)
    assert volume.stack.values.shape == (5, 4, 3)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_spacing_is_in_mm_whatever_the_unit(tmp_path, unit, factor):
    image = nib.Nifti1Image(np.zeros((2, 3, 4), np.int16), np.diag([2.0, 3.0, 4.0, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii")

    (spacing_mm,) = read_nifti(tmp_path / "a.nii").stack.spacings_mm
    assert spacing_mm == pytest.approx((4 * factor, 3 * factor, 2 * factor))


def test_halves_go_to_even_and_values_beyond_the_type_are_clipped(tmp_path, caplog):
    volume = read_nifti(_write(tmp_path / "in.nii", np.full((1, 1, 6), 9, np.uint8)))
    values = np.array([0.5, 1.5, 2.5, -3.0, 300.0, 254.6], np.float32)

    with caplog.at_level(logging.WARNING):
        write_nifti(tmp_path / "out.nii", values.reshape(volume.stack.values.shape), volume)

    stored = np.asarray(nib.load(tmp_path / "out.nii").dataobj).ravel()
    np.testing.assert_array_equal(stored, [0, 2, 2, 0, 255, 255])
    assert "2 of 6 values" in caplog.text


def test_scaled_limits_are_those_of_the_stored_type(tmp_path):
    stored = np.zeros((1, 1, 2), np.int16)
    volume = read_nifti(_write(tmp_path / "in.nii", stored, slope=0.5, inter=-1024.0))

    write_nifti(tmp_path / "out.nii", np.array([1e6, -1e6], np.float32).reshape(2, 1, 1), volume)

    values = np.asarray(nib.load(tmp_path / "out.nii").dataobj).ravel()
    np.testing.assert_array_equal(values, [32767 * 0.5 - 1024, -32768 * 0.5 - 1024])


@pytest.mark.parametrize("affine", [OBLIQUE[:, [2, 0, 1, 3]], np.diag([3.0, -0.5, 0.75, 1.0])])
def test_another_reader_sees_the_same_space_and_the_new_values(tmp_path, affine):
    # SimpleITK refuses shear, so the first affine is replaced by its nearest rotation and scaling.
    spacing = nib.affines.voxel_sizes(affine)
    left, _, right = np.linalg.svd(affine[:3, :3] / spacing)
    affine = nib.affines.from_matvec(left @ right * spacing, affine[:3, 3])
    stored = np.random.default_rng(0).integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    image = nib.Nifti1Image(stored, affine)
    nib.save(image, tmp_path / "in.nii.gz")
    volume = read_nifti(tmp_path / "in.nii.gz")

    write_nifti(tmp_path / "out.nii.gz", volume.stack.values + 100, volume)

    before = SimpleITK.ReadImage(str(tmp_path / "in.nii.gz"))
    after = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
    for name in ("GetSpacing", "GetOrigin", "GetDirection", "GetSize", "GetPixelID"):
        assert getattr(after, name)() == getattr(before, name)()
    np.testing.assert_array_equal(
        SimpleITK.GetArrayFromImage(after), SimpleITK.GetArrayFromImage(before) + np.int16(100)
    )


def test_not_a_number_stays_where_it_was_and_is_refused_elsewhere(tmp_path):
    stored = np.ones((2, 3, 4), np.float32)
    stored[0, 1, 2] = np.nan
    source = _write(tmp_path / "in.nii", stored)
    volume = read_nifti(source)

    write_nifti(tmp_path / "out.nii", volume.stack.values, volume)
    assert _content(tmp_path / "out.nii") == _content(source)

    values = volume.stack.values.copy()
    values[0, 0, 0] = np.nan
    with pytest.raises(VolumeError, match="must be finite"):
        write_nifti(tmp_path / "bad.nii", values, volume)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.nii", "out.nii"]


def test_the_stack_says_what_the_file_says_and_no_modality(tmp_path):
    stored = np.ones((2, 3, 4), np.float32)
    stored[0, 1, 2] = np.nan

    stack = read_nifti(_write(tmp_path / "in.nii", stored)).stack

    assert (stack.modality, stack.parts, stack.shears_px) == (None, (4,), ((0.0, 0.0),))
    np.testing.assert_array_equal(stack.mask, np.isfinite(stack.values))
    assert int((~stack.mask).sum()) == 1


def test_a_single_slice_is_refused(tmp_path):
    with pytest.raises(VolumeError, match=r"at least 2 slices .* got shape \(1, 4, 3\)"):
        read_nifti(_write(tmp_path / "a.nii", np.zeros((3, 4, 1), np.int16)))


def test_values_changed_in_place_are_written(tmp_path):
    volume = read_nifti(_write(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16)))

    volume.stack.values[:] = 5
    write_nifti(tmp_path / "a.nii", volume.stack.values, volume)

    assert np.all(np.asarray(nib.load(tmp_path / "a.nii").dataobj) == 5)


@pytest.mark.parametrize(
    ("stored", "match"),
    [
        (np.zeros((2, 3, 4, 2, 3), np.int16), r"its shape is \(2, 3, 4, 2, 3\)\. Extract one channel, or split it"),
        (np.zeros((2, 3, 4, 1, 3), np.float32), r"its shape is \(2, 3, 4, 1, 3\)\. Extract one channel, or split it"),
        (np.zeros((2, 3), np.int16), r"its shape is \(2, 3\), a single slice\. Join the slices"),
        (np.zeros((1, 1, 1, 5), np.int16), r"its shape is \(1, 1, 1, 5\), a single slice\. Join the slices"),
        (np.zeros((3, 4, 1, 5), np.int16), r"at least one part must have 2 slices"),
        (np.zeros((2, 3, 4), np.complex64), r"real numbers; it holds complex numbers \(complex64\)\. Convert it"),
        (np.zeros((2, 3, 4), np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])), "real numbers; it holds RGB colors"),
    ],
)
def test_other_data_is_refused(tmp_path, stored, match):
    nib.save(nib.Nifti1Image(stored, np.eye(4)), tmp_path / "a.nii.gz")

    with pytest.raises(VolumeError, match=match) as error:
        read_nifti(tmp_path / "a.nii.gz")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"", b"no image" * 100, None])
@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_broken_files_are_refused_in_one_line(tmp_path, name, content):
    path = tmp_path / name
    if content is None:
        whole = _write(path, np.random.default_rng(0).integers(0, 9, (9, 9, 9)).astype(np.int16)).read_bytes()
        content = whole[: len(whole) * 3 // 4]
    path.write_bytes(content)

    with pytest.raises(VolumeError, match=r"a\.nii.* cannot be read as NIfTI") as error:
        read_nifti(path)
    assert "\n" not in str(error.value)


def test_missing_file_and_other_formats_are_refused(tmp_path):
    with pytest.raises(VolumeError, match="cannot be read as NIfTI"):
        read_nifti(tmp_path / "none.nii")
    with pytest.raises(VolumeError, match=r"must end in \.nii or \.nii\.gz"):
        read_nifti(tmp_path / "a.tif")


def test_wrong_shape_and_missing_folder_are_refused(tmp_path):
    volume = read_nifti(_write(tmp_path / "a.nii", np.zeros((2, 3, 4), np.int16)))

    with pytest.raises(VolumeError, match=r"the one that was read, \(4, 3, 2\).*got \(2, 3, 4\)"):
        write_nifti(tmp_path / "b.nii", np.zeros((2, 3, 4), np.float32), volume)
    with pytest.raises(VolumeError, match=r"folder of .* must exist"):
        write_nifti(tmp_path / "none" / "b.nii", volume.stack.values, volume)


# --- volumes over time --------------------------------------------------------------------------------------


@pytest.mark.parametrize("more", [(), (1,), (1, 1)])
@pytest.mark.parametrize("slice_axis", [0, 2])
def test_each_volume_over_time_is_a_part(tmp_path, slice_axis, more):
    spacing = [0.75, 0.75, 0.75]
    spacing[slice_axis] = 3.0
    stored = np.random.default_rng(2).integers(0, 999, (3, 4, 5, 6, *more)).astype(np.int16)
    source = _write(tmp_path / "bold.nii.gz", stored, affine=np.diag([*spacing, 1.0]), slope=0.5, inter=3.0)

    volume = read_nifti(source)
    write_nifti(tmp_path / "same.nii.gz", volume.stack.values.copy(), volume)
    write_nifti(tmp_path / "more.nii.gz", volume.stack.values + 2, volume)

    depth = stored.shape[slice_axis]
    assert volume.stack.parts == (depth,) * 6
    assert len(set(volume.stack.spacings_mm)) == 1
    for index, place in enumerate(volume.stack.places):
        expected = stored[:, :, :, index].reshape(3, 4, 5).transpose(volume.axes) * 0.5 + 3
        np.testing.assert_array_equal(volume.stack.values[place], expected)
    assert _content(tmp_path / "same.nii.gz") == _content(source)
    written = nib.load(tmp_path / "more.nii.gz")
    np.testing.assert_array_equal(np.asarray(written.dataobj), np.asarray(nib.load(source).dataobj) + 2)


def test_repetition_time_and_units_stay(tmp_path):
    image = nib.Nifti1Image(np.zeros((4, 4, 3, 2), np.int16), np.diag([2.0, 2.0, 3.5, 1.0]))
    image.header.set_zooms((2.0, 2.0, 3.5, 1.25))
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, tmp_path / "a.nii")
    volume = read_nifti(tmp_path / "a.nii")

    write_nifti(tmp_path / "b.nii", volume.stack.values + 7, volume)

    header = nib.load(tmp_path / "b.nii").header
    assert header.get_zooms() == (2.0, 2.0, 3.5, 1.25)
    assert header.get_xyzt_units() == ("mm", "sec")


# --- values far from zero -----------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("dtype", "far"), [("i4", 2.0e9), ("f8", 2.0e9), ("f8", 4.0e12), ("i8", 3.0e15), ("i8", 8.0e18)]
)
def test_values_far_from_zero_keep_their_differences(tmp_path, dtype, far, sign):
    near = np.random.default_rng(5).normal(400, 25, (6, 5, 4)).round()
    stored = np.asarray(int(sign * far) + near.astype(np.int64)).astype(dtype)
    source = _write(tmp_path / "in.nii", stored)

    volume = read_nifti(source)

    found = volume.stack.values - np.float64(volume.stack.values.flat[0])
    np.testing.assert_array_equal(found, (near - near[0, 0, 0]).transpose(volume.axes))
    assert np.abs(volume.stack.values).min() > 12 * np.ptp(near)  # no magnitude of noise alone
    write_nifti(tmp_path / "same.nii", volume.stack.values.copy(), volume)
    assert _content(tmp_path / "same.nii") == _content(source)
    write_nifti(tmp_path / "more.nii", volume.stack.values + 3, volume)
    more = np.asarray(nib.load(tmp_path / "more.nii").dataobj)
    assert more.dtype == stored.dtype
    np.testing.assert_array_equal(more, stored + np.asarray(3, dtype))


@pytest.mark.parametrize("slope", [None, 0.013])
def test_an_offset_of_the_header_is_taken_off_too(tmp_path, slope):
    stored = np.random.default_rng(5).integers(0, 500, (6, 5, 4)).astype(np.int16)
    inter = 3.0e7
    if slope is None:
        slope = 0.25
    volume = read_nifti(_write(tmp_path / "in.nii", stored, slope=slope, inter=inter))

    values = volume.stack.values.astype(np.float64) + volume.offset
    np.testing.assert_allclose(
        values, stored.transpose(volume.axes) * np.float64(np.float32(slope)) + inter, rtol=1e-12
    )


@pytest.mark.parametrize("stored", [np.arange(3000, 3120, dtype=np.int16), np.linspace(-1e9, 1e9, 120)])
def test_values_that_float32_holds_have_no_offset(tmp_path, stored):
    assert read_nifti(_write(tmp_path / "in.nii", stored.reshape(6, 5, 4))).offset == 0


def test_values_beyond_float32_are_refused(tmp_path):
    stored = np.ones((2, 3, 4))
    stored[1, 1, 1] = 1e39
    with pytest.raises(VolumeError, match=r"in\.nii must fit float32; it has magnitudes beyond 3\.4e\+38\. Rescale it"):
        read_nifti(_write(tmp_path / "in.nii", stored))


# --- files that are not complete ----------------------------------------------------------------------------


def test_another_run_leaves_a_file_that_is_being_written(tmp_path, monkeypatch):
    volume = read_nifti(_write(tmp_path / "in.nii", np.zeros((2, 3, 4), np.int16)))
    save = nib.save

    def save_meanwhile(image, path):
        remove_abandoned(tmp_path)  # as a run of a DICOM series on this folder begins
        assert unfinished_folders() == (path.parent,)
        save(image, path)

    monkeypatch.setattr(nib, "save", save_meanwhile)
    write_nifti(tmp_path / "out.nii", volume.stack.values + 1, volume)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nii", "out.nii"]


def test_what_a_stopped_run_left_is_removed(tmp_path):
    volume = read_nifti(_write(tmp_path / "in.nii", np.zeros((2, 3, 4), np.int16)))
    (tmp_path / ".nsn2n-0123").mkdir()
    (tmp_path / ".nsn2n-0123" / "out.nii").touch()

    write_nifti(tmp_path / "out.nii", volume.stack.values + 1, volume)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.nii", "out.nii"]
