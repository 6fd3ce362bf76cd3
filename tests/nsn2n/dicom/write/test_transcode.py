# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Copies to explicit VR little endian: the same values from any uncompressed encoding."""

from __future__ import annotations

from io import BytesIO

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filewriter import dcmwrite
from pydicom.sequence import Sequence

from nsn2n.dicom.write.transcode import to_explicit_little_endian

LUT = bytes([1, 2, 3, 4])


def sample(little_endian):
    """One element of each kind of coding: text, numbers, words, tags, ambiguous VR, nested items."""
    inner = Dataset()
    inner.CodeValue, inner.CodeMeaning = "1", "inner"
    inner.add_new("RedPaletteColorLookupTableData", "OW", LUT if little_endian else bytes([2, 1, 4, 3]))
    outer = Dataset()
    outer.ReferencedFrameNumber = [1, 2]
    outer.PurposeOfReferenceCodeSequence = Sequence([inner])
    dataset = Dataset()
    dataset.PatientName = "A^B"
    dataset.Rows, dataset.PixelRepresentation = 258, 1
    dataset.add_new("PixelPaddingValue", "SS", -2000)
    dataset.RevolutionTime = 0.5
    dataset.FrameIncrementPointer = 0x00181063
    dataset.ReferencedImageSequence = Sequence([outer])
    dataset.add_new((0x0009, 0x0010), "LO", "MAKER")
    return dataset


def written(dataset, implicit, little_endian):
    buffer = BytesIO()
    dcmwrite(buffer, dataset, implicit_vr=implicit, little_endian=little_endian)
    buffer.seek(0)
    return dcmread(buffer, force=True)


@pytest.mark.parametrize(("implicit", "little_endian"), [(True, True), (False, True), (False, False)])
@pytest.mark.parametrize("touched", [False, True], ids=["raw", "values accessed"])
def test_values_are_the_same_from_any_encoding(implicit, little_endian, touched):
    source = written(sample(little_endian), implicit, little_endian)
    if touched:
        assert str(source)
    copied = written(to_explicit_little_endian(source, lambda tag: tag.is_private), False, True)
    expected = sample(True)
    del expected[0x0009, 0x0010]
    assert copied.to_json_dict() == expected.to_json_dict()


def test_elements_are_moved_without_decoding():
    source = written(sample(True), True, True)
    copied = to_explicit_little_endian(source, lambda tag: False)
    assert copied.get_item("PatientName").is_raw
    assert source.get_item("PatientName").is_raw


def test_dropped_elements_are_dropped_in_items_too():
    source = written(sample(True), False, True)
    copied = to_explicit_little_endian(source, lambda tag: tag == 0x00080104)  # CodeMeaning
    inner = copied.ReferencedImageSequence[0].PurposeOfReferenceCodeSequence[0]
    assert "CodeMeaning" not in inner
    assert inner.CodeValue == "1"
