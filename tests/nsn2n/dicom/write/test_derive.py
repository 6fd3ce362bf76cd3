# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Attributes of a derived slice: what stays byte by byte, what changes, what goes."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from io import BytesIO

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from nsn2n.dicom.image_kinds import is_own_output
from nsn2n.dicom.pixels.pixel_format import pixel_format, stored_values
from nsn2n.dicom.write.derive import DerivedSeries, derive_dataset, new_series

NOON_UTC = datetime(2026, 3, 4, 12, 30, 15, 250000, tzinfo=timezone.utc)


def elements_of(dataset):
    """Raw bytes of each element as they are in the file."""
    return {tag: dataset.get_item(tag).value for tag in dataset.keys()}  # noqa: SIM118


@pytest.fixture
def derive(make_series, edit_file, derivation):
    """Change the first slice of a synthetic series and derive from it; gives both as read from bytes."""

    def run(change=lambda dataset: None, *, raw=None, chosen=derivation, **options):
        path = make_series(**options)[0]
        edit_file(path, change)
        if raw:
            path.write_bytes(path.read_bytes().replace(*raw))
        source = pydicom.dcmread(path)
        pixels = pixel_format(source, path)
        series = DerivedSeries("2.25.1", 1001, NOON_UTC)
        target = derive_dataset(source, stored_values(source, pixels, path), pixels, chosen, series)
        buffer = BytesIO()
        target.save_as(buffer, enforce_file_format=True)
        buffer.seek(0)
        return pydicom.dcmread(path), pydicom.dcmread(buffer)

    return run


def test_only_the_tabled_attributes_differ(derive):
    source, target = derive()
    before, after = elements_of(source), elements_of(target)
    changed = {pydicom.datadict.keyword_for_tag(tag) for tag in before if after.get(tag) != before[tag]}
    added = {pydicom.datadict.keyword_for_tag(tag) for tag in after.keys() - before.keys()}
    assert changed == {
        *("SOPInstanceUID", "SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "ImageType"),
        *("SeriesDate", "SeriesTime", "ContentDate", "ContentTime", "Manufacturer"),
    }
    assert added == {
        *("InstanceCreationDate", "InstanceCreationTime", "ManufacturerModelName", "SoftwareVersions"),
        *("DerivationDescription", "DerivationCodeSequence", "SourceImageSequence"),
        "ContributingEquipmentSequence",
    }


def test_derivation_names_its_source_and_its_code(derive):
    source, target = derive()
    assert list(target.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    (reference,) = target.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.ReferencedSOPClassUID == source.SOPClassUID
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (code,) = target.DerivationCodeSequence
    assert (code.CodeValue, code.CodingSchemeDesignator) == ("113087", "DCM")
    assert target.DerivationDescription == "NS-N2N test"
    assert target.SOPInstanceUID != source.SOPInstanceUID
    assert target.file_meta.MediaStorageSOPInstanceUID == target.SOPInstanceUID
    assert target.file_meta.ImplementationVersionName == "NSN2N_0.0.1"
    assert len(target.file_meta.ImplementationClassUID) <= 64


def test_scanner_moves_to_contributing_equipment_after_earlier_contributors(derive):
    def equip(dataset):
        dataset.ManufacturerModelName, dataset.StationName = "Scanner 9", "CT4"
        dataset.DeviceSerialNumber, dataset.SoftwareVersions = "336", "4.1"
        earlier = Dataset()
        earlier.Manufacturer = "Gateway"
        dataset.ContributingEquipmentSequence = Sequence([earlier])

    _source, target = derive(equip)
    gateway, scanner = target.ContributingEquipmentSequence
    assert gateway.Manufacturer == "Gateway"
    assert scanner.Manufacturer == "NSN2N synthetic phantom"
    assert (scanner.ManufacturerModelName, scanner.StationName) == ("Scanner 9", "CT4")
    assert (scanner.DeviceSerialNumber, scanner.SoftwareVersions) == ("336", "4.1")
    assert scanner.PurposeOfReferenceCodeSequence[0].CodeValue == "109101"
    assert (target.ManufacturerModelName, target.SoftwareVersions) == ("nsn2n", "0.0.1")
    assert "DeviceSerialNumber" not in target
    assert "StationName" not in target
    assert is_own_output(target)
    assert not is_own_output(_source)


def test_stale_and_private_attributes_go_on_all_levels(derive):
    def add(dataset):
        dataset.add_new((0x0009, 0x0010), "LO", "MAKER")
        dataset.add_new((0x0009, 0x1001), "LO", "private text")
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.3", "1.2.4"
        item.add_new((0x0009, 0x0010), "LO", "MAKER")
        item.add_new((0x0009, 0x1001), "LO", "private text")
        dataset.ReferencedImageSequence = [item]
        dataset.ReferencedPerformedProcedureStepSequence = [Dataset()]
        dataset.PerformedProcedureStepID = "PPS"
        dataset.IconImageSequence = [Dataset()]
        dataset.DigitalSignaturesSequence = [Dataset()]
        dataset.add_new((0xFFFC, 0xFFFC), "OB", b"\0\0")
        dataset.add_new((0x5000, 0x0005), "US", 1)

    _source, target = derive(add)
    kept = [pydicom.datadict.keyword_for_tag(tag) for tag in target.keys()]  # noqa: SIM118
    gone = ["ReferencedPerformedProcedureStepSequence", "PerformedProcedureStepID", "IconImageSequence"]
    assert not set(kept) & {*gone, "DigitalSignaturesSequence", "DataSetTrailingPadding"}
    (reference,) = target.ReferencedImageSequence
    assert reference.ReferencedSOPInstanceUID == "1.2.4"
    assert not any(element.tag.is_private for element in target.iterall())
    assert (0x5000, 0x0005) not in target


def test_overlay_with_its_own_data_stays(derive):
    data = bytes([0b10101010] * 6)

    def add(dataset):
        dataset.add_new((0x6000, 0x0010), "US", 6)
        dataset.add_new((0x6000, 0x3000), "OW", data)

    _source, target = derive(add)
    assert target[0x6000, 0x3000].value == data


@pytest.mark.parametrize("signed", [0, 1])
def test_extreme_pixel_values_are_computed_anew(derive, signed, noise_dhw):
    def add(dataset):
        dataset.add_new("SmallestImagePixelValue", "US", 1)
        dataset.add_new("LargestImagePixelValue", "US", 2)
        dataset.add_new("LargestPixelValueInSeries", "US", 2)

    overrides = {"PixelRepresentation": signed, "RescaleIntercept": "0" if signed else "-1024"}
    _source, target = derive(add, overrides={**overrides, "BitsStored": 16, "HighBit": 15})
    offset = 0 if signed else 1024
    assert target.SmallestImagePixelValue == noise_dhw[0].min() + offset
    assert target.LargestImagePixelValue == noise_dhw[0].max() + offset
    assert ("SS" if signed else "US") == target["SmallestImagePixelValue"].VR
    assert "LargestPixelValueInSeries" not in target


@pytest.mark.parametrize(
    ("charset", "name"),
    [
        ("ISO_IR 192", "M\u00fcller^Vornam".encode("latin-1")),  # declared wrong: must survive all the same
        ("ISO_IR 100", "M\u00fcller^Vornam".encode("latin-1")),
        (["", "ISO 2022 IR 87"], b"Yamada=\x1b$B;3ED\x1b(B"),
        ("NO SUCH SET", b"N\xe9e^Inconnue"),
    ],
)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_bytes_of_a_name_stay_whatever_the_character_set(derive, charset, name):
    name += b" " * (len(name) % 2)
    placeholder = b"x" * len(name)

    def label(dataset):
        dataset.SpecificCharacterSet = charset
        dataset.PatientName = placeholder.decode()
        item = Dataset()
        item.PatientName = placeholder.decode()
        dataset.ReferencedPatientSequence = [item]

    source, target = derive(label, raw=(placeholder, name))
    tag = (0x0010, 0x0010)
    assert target.get_item(tag).value == source.get_item(tag).value == name
    assert target.ReferencedPatientSequence[0].get_item(tag).value == name
    assert target.get_item((0x0008, 0x0005)).value == source.get_item((0x0008, 0x0005)).value


def test_junk_dates_are_copied(derive):
    source, target = derive(overrides={"StudyDate": "20260102"}, raw=(b"20260102", b"********"))
    assert target.get_item("StudyDate").value == source.get_item("StudyDate").value == b"********"


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("Head", "Head denoised"),
        ("", "denoised"),
        (None, "denoised"),
        ("x" * 64, "x" * 55 + " denoised"),
        ("x" * 55, "x" * 55 + " denoised"),
        ("x" * 54 + " y", "x" * 54 + " denoised"),
        ("K\u00f6pfe", "K\u00f6pfe denoised"),
        ("\u00f6" * 60, "\u00f6" * 55 + " denoised"),
    ],
)
@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192"])
@pytest.mark.filterwarnings("ignore:The value length")  # pydicom counts the padding byte
def test_series_description_fits_64_characters(derive, charset, description, expected):
    def describe(dataset):
        dataset.SpecificCharacterSet = charset
        if description is None:
            del dataset.SeriesDescription
        else:
            dataset.SeriesDescription = description

    _source, target = derive(describe)
    assert target.SeriesDescription == expected


@pytest.mark.parametrize(
    ("number", "taken", "expected"),
    [
        (4, (), 1004),
        (4, (1004, 1005), 1006),
        (None, (), 1000),
        (2**31 - 1, (), 1000),
        (2**31 - 1, (1000,), 1001),
        (-5000, (), -4000),
    ],
)
def test_series_number_is_free_and_within_its_range(derivation, number, taken, expected):
    source = Dataset()
    source.SeriesNumber = number
    assert new_series(source, derivation, taken).SeriesNumber == expected
    assert new_series(source, derivation).SeriesInstanceUID != new_series(source, derivation).SeriesInstanceUID


@pytest.mark.parametrize(("offset", "time"), [("+0530", "180015.250000"), ("-1000", "023015.250000")])
def test_new_times_are_in_the_time_zone_of_the_source(derive, offset, time):
    _source, target = derive(lambda dataset: setattr(dataset, "TimezoneOffsetFromUTC", offset))
    assert target.SeriesTime == target.ContentTime == target.InstanceCreationTime == time
    assert (target.SeriesDate, target.StudyDate, target.AcquisitionTime) == ("20260304", "20260101", "120000")
    assert target.TimezoneOffsetFromUTC == offset


@pytest.mark.parametrize("offset", [None, "junk", "+9999"])
def test_without_a_time_zone_new_times_are_local(derive, offset):
    _source, target = derive(lambda dataset: setattr(dataset, "TimezoneOffsetFromUTC", offset))
    local = NOON_UTC.astimezone()
    assert target.SeriesDate + target.SeriesTime == local.strftime("%Y%m%d%H%M%S.%f")
    assert local - NOON_UTC == timedelta(0)


def test_source_is_not_changed(derive, make_series, derivation):
    path = make_series()[0]
    source, untouched = pydicom.dcmread(path), pydicom.dcmread(path)
    pixels = pixel_format(source, path)
    derive_dataset(
        source, np.zeros(pixels.shape_hw, np.int32), pixels, derivation, DerivedSeries("2.25.1", 1, NOON_UTC)
    )
    assert source == untouched
