# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Values from headers that may hold anything, and the form of refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from nsn2n.dicom.attributes import integer, numbers, raw_value, refusal, series_number, tag_text, text, values
from nsn2n.errors import DicomError

HERE = Path("slice.dcm")


@pytest.fixture
def header():
    """A header as read from bytes, some of them nonsense."""
    dataset = Dataset()
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.PixelSpacing = ["0.5", "0.25"]
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientID = ""
    dataset.EchoTime = None
    for keyword, vr, content in (
        ("SeriesNumber", "IS", b"abc "),
        ("Rows", "US", b"\1"),
        ("KVP", "DS", b"1.5 "),
    ):
        tag = Tag(keyword)
        dataset[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
    return dataset


def test_values_are_tuples_and_nothing_is_empty(header):
    assert values(header, "ImageType") == ("ORIGINAL", "PRIMARY")
    assert values(header, "SeriesInstanceUID") == ("1.2.3",)
    for keyword in ("PatientID", "EchoTime", "StudyID", "Rows"):
        assert values(header, keyword) == ()
        assert text(header, keyword) == ""
    assert text(header, "ImageType") == r"ORIGINAL\PRIMARY"


@pytest.mark.filterwarnings("ignore:Invalid value for VR IS")
def test_series_number_is_a_number_or_none(header):
    assert series_number(header) is None
    header.SeriesNumber = 7
    assert series_number(header) == 7
    del header.SeriesNumber
    assert series_number(header) is None


def test_raw_value_is_the_bytes_without_padding(header):
    assert raw_value(header, "KVP") == b"1.5"
    assert raw_value(header, "SeriesInstanceUID") == b"1.2.3"
    assert raw_value(header, "PatientID") == raw_value(header, "StudyID") == b""


def test_numbers_are_exactly_as_many_as_asked_for(header):
    assert numbers(header, "PixelSpacing", 2, HERE) == (0.5, 0.25)
    with pytest.raises(DicomError, match=r"PixelSpacing \(0028,0030\) must hold 3 finite numbers; got 0\.5\\0\.25"):
        numbers(header, "PixelSpacing", 3, HERE)
    with pytest.raises(DicomError, match="must hold 1 finite number; got no such attribute"):
        numbers(header, "SliceThickness", 1, HERE)
    with pytest.raises(DicomError, match="must hold 1 finite number; got no value"):
        numbers(header, "EchoTime", 1, HERE)
    with pytest.raises(DicomError, match=r"must be a whole number; got 1\.5"):
        integer(header, "KVP", HERE)


def test_refusal_says_what_where_and_what_next(header):
    error = refusal("must be 1; got 2", "Do this.", keyword="Rows", path=HERE, header=header)
    assert str(error) == "Rows (0028,0010) must be 1; got 2 [slice.dcm, series 1.2.3]. Do this."
    assert str(refusal("no", "Do this.")) == "no. Do this."
    assert tag_text("NotAKeyword") == "NotAKeyword"
