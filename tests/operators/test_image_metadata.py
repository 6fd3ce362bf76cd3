# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""From a series to the metadata of an SDK image, and from any image to a stack."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from pydicom.valuerep import DSfloat

from nsn2n import SliceStack
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import VolumeError
from nsn2n.operators.image_metadata import (
    STACK,
    known_modality,
    sdk_metadata,
    series_label,
    spacing_mm,
    stack_of,
)
from nsn2n.synthetic.dicom_series import write_synthetic_series

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.core import Fragment, Image
from monai.deploy.core.domain.dicom_series_selection import SelectedSeries, StudySelectedSeries
from monai.deploy.operators.dicom_data_loader_operator import DICOMDataLoaderOperator
from monai.deploy.operators.dicom_series_to_volume_operator import DICOMSeriesToVolumeOperator


@pytest.fixture
def volume_dhw():
    """Whole HU; no two slices, rows or columns are alike."""
    return np.random.default_rng(7).integers(-900, 2900, size=(5, 6, 8)).astype(float)


@pytest.fixture
def make_series(tmp_path, volume_dhw):
    """Write a volume as a series into a new folder; keyword arguments as for `write_synthetic_series`."""

    def make(volume=volume_dhw, **options):
        return write_synthetic_series(volume, tmp_path / "in", **{"seed": "metadata", **options})

    return make


# --- sdk_metadata -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def sdk():
    """The SDK's own operators, used as functions."""
    fragment = Fragment()
    loader = DICOMDataLoaderOperator(fragment, name="loader")
    converter = DICOMSeriesToVolumeOperator(fragment, name="converter")

    def image_of(folder):
        (study,) = loader.load_data_to_studies(folder)
        selected = StudySelectedSeries(study)
        selected.add_selected_series(SelectedSeries("rule", study.get_all_series()[0], None))
        return converter.convert_to_image([selected])

    return SimpleNamespace(image_of=image_of)


def test_metadata_are_those_of_the_sdk(make_series, sdk):
    """With square pixels the SDK's geometry is right, so values agree; BodyPartExamined is never there."""
    files = make_series(spacing_mm=(2.5, 0.5, 0.5), origin_mm=(-10.0, 20.0, 30.0))
    image = sdk.image_of(files[0].parent)
    series = read_series(files)
    ours, theirs = sdk_metadata(series, selection_name="rule"), image.metadata()
    np.testing.assert_array_equal(image.asnumpy(), series.stack.values)
    assert set(ours) - set(theirs) == {"source_files", "slice_stack", "BodyPartExamined"}
    assert set(theirs) <= set(ours)
    for key, value in theirs.items():
        if isinstance(value, (str, int)):
            assert ours[key] == value
            assert isinstance(ours[key], type(value))
        else:
            np.testing.assert_allclose(ours[key], value, atol=1e-12, err_msg=key)
    assert ours["source_files"] == [str(file) for file in files]
    assert ours["slice_stack"] is series.stack


def test_metadata_differ_from_the_sdk_where_it_swaps_spacings(make_series, sdk):
    files = make_series(spacing_mm=(2.5, 0.4, 0.8))
    theirs = sdk.image_of(files[0].parent).metadata()
    ours = sdk_metadata(read_series(files))
    assert (ours["row_pixel_spacing"], ours["col_pixel_spacing"]) == (0.4, 0.8)
    assert (theirs["row_pixel_spacing"], theirs["col_pixel_spacing"]) == (0.4, 0.8)
    np.testing.assert_allclose(np.abs(np.diag(ours["affine"]))[:2], [0.8, 0.4])
    np.testing.assert_allclose(np.abs(np.diag(theirs["affine"]))[:2], [0.4, 0.8])  # why the SDK's is not used


def test_tilt_stays_in_the_affine_and_is_in_the_stack(make_series):
    leaning = {"ImagePositionPatient": lambda index: [0, 0.3 * index, index]}
    metadata = sdk_metadata(read_series(make_series(overrides=leaning)))
    np.testing.assert_allclose(metadata["dicom_affine_transform"][:3, 2], (0, 0.3, 1))
    assert metadata["slice_stack"].shears_px == (pytest.approx((0.3, 0), abs=1e-9),)


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, -1)])
@pytest.mark.parametrize("shear_px", [(2.0, 0.0), (-3.0, 1.0)])
def test_the_stack_leans_by_the_pixels_of_its_slices(make_series, orientation, shear_px):
    """Rows 0.5 mm, columns 0.25 mm apart."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, column) + shear_px[0] * 0.5 * column + shear_px[1] * 0.25 * row
    leaning = {"ImagePositionPatient": lambda index: [float(f"{value:.6f}") for value in index * step]}
    files = make_series(orientation=orientation, spacing_mm=(1.0, 0.5, 0.25), overrides=leaning)
    assert sdk_metadata(read_series(files))["slice_stack"].shears_px == (pytest.approx(shear_px, abs=1e-4),)


def test_a_series_in_parts_has_no_affine_for_an_image(make_series, volume_dhw):
    places = [0, 4, 8, 9, 16, 23]
    six_dhw = np.concatenate([volume_dhw, volume_dhw[:1]])
    files = make_series(six_dhw, overrides={"ImagePositionPatient": lambda index: [0, 0, places[index]]})
    metadata = sdk_metadata(read_series(files))
    assert metadata["slice_stack"].parts == (3, 3)
    assert metadata["slice_stack"].spacings_mm == ((4, 1, 1), (7, 1, 1))
    assert (metadata["row_pixel_spacing"], metadata["col_pixel_spacing"]) == (1, 1)
    assert not {"affine", "dicom_affine_transform", "nifti_affine_transform", "depth_pixel_spacing"} & set(metadata)


# --- stack_of -----------------------------------------------------------------------------------------------


@pytest.fixture
def carried():
    """A stack of two parts that lean, with padding."""
    values = np.random.default_rng(0).normal(40, 20, (5, 6, 7)).astype(np.float32)
    mask = np.ones(values.shape, bool)
    mask[:, :2] = False
    return SliceStack(
        values=values, mask=mask, parts=(3, 2), spacings_mm=((4.0, 0.5, 0.75), (7.0, 0.5, 0.75)),
        shears_px=((0.5, 0.0), (1.0, 0.0)), modality="CT",
    )  # fmt: skip


def test_the_stack_that_an_image_carries_gets_the_values_of_the_operators_in_between(carried):
    # What the SDK's keys say does not count beside it.
    metadata = {STACK: carried, "Modality": "MR", "depth_pixel_spacing": 1.0}
    smoothed = carried.values + np.float32(3)

    stack = stack_of(Image(smoothed, metadata))

    np.testing.assert_array_equal(stack.values, smoothed)
    np.testing.assert_array_equal(stack.mask, carried.mask)
    for name in ("parts", "spacings_mm", "shears_px", "modality"):
        assert getattr(stack, name) == getattr(carried, name), name


def test_an_image_as_it_was_read_is_the_stack_that_was_read(make_series, volume_dhw):
    series = read_series(make_series(overrides={"PixelPaddingValue": int(volume_dhw[0, 0, 0]) + 1024}))

    stack = stack_of(Image(series.stack.values, sdk_metadata(series)))

    assert stack.values is series.stack.values
    np.testing.assert_array_equal(stack.mask, volume_dhw != volume_dhw[0, 0, 0])


def test_what_an_operator_made_not_finite_is_no_measurement(carried):
    values = carried.values.copy()
    values[0, 4, 4] = np.nan

    stack = stack_of(Image(values, {STACK: carried}))

    assert not stack.mask[0, 4, 4]
    assert int((stack.mask != carried.mask).sum()) == 1


@pytest.mark.parametrize("cut", [np.s_[:, 1:], np.s_[:-1], np.s_[..., ::2]])
def test_an_image_that_was_cropped_or_resampled_is_refused(carried, cut):
    with pytest.raises(VolumeError, match=r"the stack that they replace, \(5, 6, 7\); got .* Create a new stack"):
        stack_of(Image(carried.values[cut], {STACK: carried}))


def test_an_image_of_another_operator_says_what_the_sdk_says():
    values = np.random.default_rng(0).integers(-900, 900, (4, 6, 7)).astype(np.int16)
    metadata = {
        "Modality": "MR",
        "depth_pixel_spacing": DSfloat("2.5"),
        "row_pixel_spacing": 0.75,
        "col_pixel_spacing": 0.5,
    }

    stack = stack_of(Image(values, metadata))

    np.testing.assert_array_equal(stack.values, values)
    assert stack.values.dtype == np.float32
    assert (stack.modality, stack.spacings_mm) == ("MR", ((2.5, 0.75, 0.5),))
    assert (stack.mask, stack.parts, stack.shears_px) == (None, (4,), ((0.0, 0.0),))


@pytest.mark.parametrize("metadata", [None, {}, {"Modality": "US", "depth_pixel_spacing": 0}, {STACK: "no stack"}])
def test_an_image_that_says_nothing_of_itself_is_a_stack_of_unknown_kind(metadata):
    stack = stack_of(Image(np.zeros((4, 6, 7)), metadata))

    assert (stack.modality, stack.spacings_mm) == (None, (None,))


def test_an_image_that_is_no_volume_is_refused():
    with pytest.raises(VolumeError, match=r"must have the axes \(D, H, W\); got shape \(6, 7\)"):
        stack_of(Image(np.zeros((6, 7))))


# --- values of the SDK's metadata, read with care -----------------------------------------------------------


def test_spacing_is_in_the_order_of_the_axes():
    metadata = {"row_pixel_spacing": DSfloat("0.75"), "col_pixel_spacing": 0.5, "depth_pixel_spacing": 2}

    assert spacing_mm(metadata) == (2.0, 0.75, 0.5)


@pytest.mark.parametrize("depth_mm", [None, 0.0, -1.0, float("nan")])
def test_spacing_that_is_no_distance_is_not_passed_on(depth_mm):
    metadata = {"row_pixel_spacing": 1.0, "col_pixel_spacing": 1.0, "depth_pixel_spacing": depth_mm}

    assert spacing_mm(metadata) is None


@pytest.mark.parametrize(("found", "expected"), [("CT", "CT"), (" mr", "MR"), ("US", None), (None, None)])
def test_only_modalities_of_volumes_are_passed_on(found, expected):
    assert known_modality({"Modality": found}) == expected


def test_label_names_the_series_and_nothing_of_the_patient():
    metadata = {"Modality": "CT", "SeriesNumber": 2, "SeriesInstanceUID": "2.25.1", "PatientName": "Doe^Jane"}

    assert series_label(metadata) == 'CT series 2 "" (2.25.1)'
    assert series_label({}) == '? series without number "" (no UID)'
