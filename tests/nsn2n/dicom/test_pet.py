# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""PET: a slope for each slice, values that outgrow it, times that must stay, and what is warned of."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest
import SimpleITK

from nsn2n.dicom.pixels.encoding import encode_slice
from nsn2n.dicom.pixels.pixel_format import PixelFormat
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError

PEAKS_BQML = (400.0, 9000.0, 52000.5, 0.0, 3.25)


@pytest.fixture
def activity_dhw():
    """Slices whose largest values, and so whose slopes, differ by orders; one is empty."""
    uptake = np.random.default_rng(5).uniform(0, 1, size=(5, 6, 8))
    uptake[:, 2, 3] = 1
    return uptake * np.array(PEAKS_BQML)[:, None, None]


@pytest.fixture
def pet(make_series, activity_dhw):
    """Files of a PET series; keyword arguments as for `write_synthetic_series`."""

    def make(**options):
        return make_series(activity_dhw, modality="PT", **options)

    return make


def slopes_of(files):
    return np.array([float(pydicom.dcmread(file).RescaleSlope) for file in files])


def test_each_slice_is_read_by_its_own_slope(pet, activity_dhw):
    files = pet()
    series = read_series(files)
    slopes = slopes_of(files)
    assert len(set(slopes)) == 5
    assert (np.abs(series.stack.values - activity_dhw) <= 0.501 * slopes[:, None, None] + 1e-30)[[0, 1, 2, 4]].all()
    assert not series.stack.values[3].any()
    np.testing.assert_allclose(series.stack.values[1], SimpleITK.GetArrayFromImage(
        SimpleITK.ReadImage(str(files[1])))[0], rtol=1e-6)  # fmt: skip
    assert series.stack.modality == "PT"


def test_selection_takes_it(pet):
    selection = select_series(scan_folder(pet()[0].parent), default_rules())
    assert [selected.name for selected in selection.selected] == ["PT volume"]


def test_identity_keeps_slopes_and_stored_values(pet, tmp_path, derivation):
    files = pet()
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        assert target.PixelData == source.PixelData
        assert target.get_item("RescaleSlope").value == source.get_item("RescaleSlope").value
        assert (target.SeriesDate, target.SeriesTime) == (source.SeriesDate, source.SeriesTime)
        assert (target.ContentDate, target.ContentTime) != (source.ContentDate, source.ContentTime)
        assert list(target.ImageType) == ["DERIVED", "PRIMARY"]
        assert (target.Units, target.DecayCorrection, target.FrameReferenceTime) == ("BQML", "START", 60000)
        assert target.RadiopharmaceuticalInformationSequence == source.RadiopharmaceuticalInformationSequence
    assert written.rescaled_slices == 0


@pytest.mark.parametrize("signed", [0, 1])
def test_values_of_brighter_neighbors_get_a_new_slope(pet, tmp_path, derivation, dciodvfy_messages, caplog, signed):
    """Smoothing along z carries activity into slices whose slope cannot hold it."""
    caplog.set_level(logging.INFO)
    bits = {} if signed else {"PixelRepresentation": 0, "BitsStored": 16, "HighBit": 15}
    files = pet(overrides={"RealWorldValueMappingSequence": lambda index: [mapping()], **bits})
    series = read_series(files)
    blurred_dhw = series.stack.values.copy()
    blurred_dhw[1:-1] = (series.stack.values[:-2] + series.stack.values[1:-1] + series.stack.values[2:]) / 3
    written = write_series(blurred_dhw, series.files, tmp_path / "out", derivation)
    result_dhw = read_series(written.files, allow_own_output=True).stack.values
    before, after = slopes_of(files), slopes_of(written.files)
    largest = 32767 if signed else 65535
    outgrown = np.rint(blurred_dhw.max(axis=(1, 2)) / before) > largest
    assert outgrown.any()
    assert not outgrown[[0, 2]].any()
    np.testing.assert_array_equal(after != before, outgrown)
    np.testing.assert_allclose(after[outgrown], blurred_dhw.max(axis=(1, 2))[outgrown] / largest, rtol=1e-6)
    assert (np.abs(result_dhw - blurred_dhw) <= 0.501 * after[:, None, None]).all()
    assert written.rescaled_slices == outgrown.sum()
    assert written.clipped_voxels == 0
    assert f"{outgrown.sum()} of 5 slices got a new RescaleSlope" in caplog.text
    for file, new in zip(written.files, outgrown, strict=True):
        target = pydicom.dcmread(file)
        assert ("RealWorldValueMappingSequence" in target) == (not new)
        assert target.RescaleIntercept == 0
    added = dciodvfy_messages(written.files) - dciodvfy_messages(files)
    assert not [line for line in added if line.startswith("Error")]


def mapping():
    """Stored values to Bq/ml by another way than RescaleSlope."""
    unit = pydicom.Dataset()
    unit.CodeValue, unit.CodingSchemeDesignator, unit.CodeMeaning = "Bq/ml", "UCUM", "Becquerels/milliliter"
    item = pydicom.Dataset()
    item.LUTExplanation, item.LUTLabel = "activity", "BQML"
    item.RealWorldValueIntercept, item.RealWorldValueSlope = 0.0, 0.5
    item.add_new("RealWorldValueFirstValueMapped", "US", 0)
    item.add_new("RealWorldValueLastValueMapped", "US", 32767)
    item.MeasurementUnitsCodeSequence = [unit]
    return item


def test_negative_values_fit_a_signed_slope_too():
    pixels = PixelFormat((1, 3), 16, 16, True, 0.01, 0.0, None, slope_may_change=True)
    encoded = encode_slice(np.array([[-1000.0, 5.0, 20.0]]), np.zeros((1, 3), np.int32), pixels)
    assert encoded.pixels.slope == pytest.approx(1000 / 32768)
    assert encoded.clipped == 0
    np.testing.assert_allclose(encoded.pixels.to_values(encoded.stored_hw), [[-1000, 5, 20]], atol=0.0153)


def test_padding_has_no_part_in_a_new_slope():
    pixels = PixelFormat((1, 3), 16, 16, True, 0.01, 0.0, (-5, -5), slope_may_change=True)
    encoded = encode_slice(np.array([[1e9, 5.0, 1000.0]]), np.array([[-5, 1, 2]], dtype=np.int32), pixels)
    assert encoded.pixels.slope == pytest.approx(1000 / 32767)
    np.testing.assert_array_equal(encoded.stored_hw, [[-5, 164, 32767]])


def test_an_offset_forbids_a_new_slope(pet, tmp_path, derivation):
    """The standard knows none in PET; where there is one, values are clipped as in other modalities."""
    series = read_series(pet(overrides={"RescaleIntercept": "10"}))
    written = write_series(series.stack.values * 4, series.files, tmp_path / "out", derivation)
    assert written.rescaled_slices == 0
    assert written.clipped_voxels > 0


@pytest.mark.parametrize(
    ("overrides", "warning"),
    [
        ({}, None),
        ({"Units": "CNTS"}, "holds counts (Units CNTS)"),
        ({"DecayCorrection": "NONE"}, "is not corrected for decay"),
        ({"DecayCorrection": None}, "is not corrected for decay"),
    ],
)
def test_counts_and_decay_are_warned_of_once(pet, tmp_path, derivation, caplog, overrides, warning):
    files = pet(overrides=overrides)
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    warnings = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warnings) == (warning is not None)
    assert warning is None or warning in warnings[0]
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        assert target.PixelData == source.PixelData
        assert (target.SeriesDate, target.SeriesTime) == (source.SeriesDate, source.SeriesTime)
        assert target.Units == overrides.get("Units", "BQML")


@pytest.mark.parametrize(
    ("factors", "told"),
    [
        ({0x00: "0.00042", 0x09: "9.5"}, "is kept, that to SUV (7053,xx00) and that to Bq/ml (7053,xx09)"),
        ({0x00: "0.00042"}, "is kept, that to SUV (7053,xx00); others"),
        ({}, "factors to uptake values in private attributes are not copied"),
    ],
)
@pytest.mark.parametrize("in_all", [True, False])
def test_factors_of_counts_are_kept(pet, edit_file, tmp_path, derivation, factors, told, in_all):
    files = pet(overrides={"Units": "CNTS"})
    for file in files if in_all else files[1:]:
        for element, value in factors.items():
            edit_file(file, lambda dataset, element=element, value=value: dataset.private_block(
                0x7053, "Philips PET Private Group", create=True).add_new(element, "DS", value))  # fmt: skip
    series = read_series(files)
    (warning,) = series.warnings
    assert warning.startswith("holds counts (Units CNTS): ")
    assert (told in warning) == (in_all or not factors)
    # Brighter slices get a new RescaleSlope: the factors are of what it yields.
    written = write_series(series.stack.values * 1.5, series.files, tmp_path / "out", derivation)
    assert written.rescaled_slices
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        for tag in (0x70530010, 0x70531000, 0x70531009):
            assert target.get(tag) == source.get(tag)


@pytest.mark.parametrize(("keyword", "value"), [("Units", "CNTS"), ("DecayCorrection", "ADMIN")])
def test_slices_of_other_units_are_refused(pet, edit_file, keyword, value):
    files = pet()
    edit_file(files[3], lambda dataset: setattr(dataset, keyword, value))
    with pytest.raises(DicomError, match=rf"{keyword} .* must be the same in all slices .* got {value}"):
        read_series(files)
