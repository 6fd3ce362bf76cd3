# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Rules for one slice and for slices together; `test_reader` goes through the rules one by one with files."""

from __future__ import annotations

import pydicom
import pytest

from nsn2n.dicom.slice_facts import SAME_IN_ALL_SLICES, check_same_series, check_slice
from nsn2n.errors import DicomError


@pytest.fixture
def slices(make_series):
    """Facts of the slices of a synthetic series."""
    return [check_slice(pydicom.dcmread(path), path) for path in make_series(spacing_mm=(2, 0.4, 0.8))]


def test_facts_are_the_numbers_of_the_header(slices):
    third = slices[2]
    assert third.position_mm == (0, 0, 4)
    assert third.orientation == (1, 0, 0, 0, 1, 0)
    assert third.pixel_spacing_mm == (0.4, 0.8)
    assert third.pixels.shape_hw == (6, 8)
    check_same_series(slices)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize("keyword", SAME_IN_ALL_SLICES)
@pytest.mark.parametrize("index", [0, 4])
def test_difference_in_any_slice_is_found(slices, keyword, index):
    value = 77 if isinstance(slices[index].header.get(keyword), int) else "1.2.3"
    setattr(slices[index].header, keyword, value)
    with pytest.raises(DicomError, match=rf"{keyword} \(.*\) must be the same in all slices.*{value}"):
        check_same_series(slices)


def test_two_patients_are_distinguished_without_naming_them(slices):
    slices[3].header.PatientID = "SECRET"
    with pytest.raises(DicomError, match=r"PatientID \(0010,0020\) must be the same .* two patients") as caught:
        check_same_series(slices)
    assert "SECRET" not in str(caught.value)
    assert "NSN2N-PHANTOM" not in str(caught.value)


@pytest.mark.parametrize("stored", [b"", b" ", b"NSN2N-PHANTOM "])
def test_padding_of_an_identifier_is_no_difference(slices, stored):
    for facts in slices:
        facts.header.PatientID = stored.decode().strip()
    slices[1].header.PatientID = stored.decode()
    check_same_series(slices)


@pytest.mark.parametrize("keyword", ["PatientName", "PatientBirthDate"])
def test_slices_of_two_patients_are_refused_though_their_identifier_is_one(slices, keyword):
    for facts in slices:
        facts.header.PatientID = ""
    setattr(slices[2].header, keyword, {"PatientName": "Secret^Jane", "PatientBirthDate": "19700101"}[keyword])

    with pytest.raises(DicomError, match=f"{keyword} .* must be the same .* two patients") as caught:
        check_same_series(slices)

    assert "Secret" not in str(caught.value)
    assert "1970" not in str(caught.value)
