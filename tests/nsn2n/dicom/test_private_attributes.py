# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Private attributes stay where their meaning is known, and nothing else of them does."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from nsn2n.dicom.private_attributes import creators_of, private_numbers, safe_private_tags
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.series_writer import write_series

PET = "Philips PET Private Group"


def with_private(creator, group, **elements):
    """A dataset with elements of one block: ``x0C=("IS", 5)``."""
    dataset = Dataset()
    block = dataset.private_block(group, creator, create=True)
    for name, (vr, value) in elements.items():
        block.add_new(int(name[1:], 16), vr, value)
    return dataset


def shown(tags):
    return sorted(f"{tag.group:04X},{tag.element:04X}" for tag in tags)


def reread(dataset, *, implicit):
    """What a file of one transfer syntax gives: elements that nobody has looked at."""
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
    write_dataset(buffer, dataset)
    buffer.seek(0)
    return read_dataset(buffer, is_implicit_VR=implicit, is_little_endian=True)


@pytest.mark.parametrize("implicit", [True, False])
def test_known_numbers_stay_with_their_creator(implicit):
    dataset = with_private("SIEMENS MR HEADER", 0x0019, x0C=("IS", 800), x0E=("FD", [0.6, 0.0, 0.8]), x0B=("DS", "1"))
    read = reread(dataset, implicit=implicit)
    assert shown(safe_private_tags(read)) == ["0019,0010", "0019,100C", "0019,100E"]
    assert private_numbers(read, creators_of(read), "SIEMENS MR HEADER", 0x0019, 0x0E) == (0.6, 0.0, 0.8)


def test_the_creator_decides_and_not_the_number():
    assert not safe_private_tags(with_private("SOMEONE ELSE", 0x7053, x00=("DS", "0.5")))
    assert not safe_private_tags(with_private(PET, 0x7055, x00=("DS", "0.5")))


def test_each_block_is_looked_at():
    dataset = with_private("OTHER", 0x7053, x00=("LO", "name"))
    block = dataset.private_block(0x7053, PET, create=True)
    block.add_new(0x09, "DS", "12.5")
    assert shown(safe_private_tags(dataset)) == ["7053,0011", "7053,1109"]
    assert private_numbers(dataset, creators_of(dataset), PET, 0x7053, 0x09) == (12.5,)


@pytest.mark.parametrize(
    ("creator", "group", "element", "vr", "value"),
    [
        (PET, 0x7053, "x00", "LO", "SECRET^NAME"),
        (PET, 0x7053, "x00", "UN", b"SECRET^NAME "),
        (PET, 0x7053, "x00", "DS", ""),
        ("Philips Imaging DD 001", 0x2001, "x03", "FL", float("nan")),
        ("Philips Imaging DD 001", 0x2001, "x04", "LO", "Secret^name"),
    ],
)
def test_what_holds_something_else_goes(creator, group, element, vr, value):
    assert not safe_private_tags(with_private(creator, group, **{element: (vr, value)}))


def test_in_a_derived_series_they_stay_on_their_level_only(make_series, edit_file, tmp_path, derivation):
    """An item of a sequence has creators of its own: the same number means something else there."""
    files = make_series(modality="PT", volume_dhw=np.random.default_rng(1).uniform(0, 50, (4, 6, 5)))

    def edit(dataset):
        dataset.private_block(0x7053, PET, create=True).add_new(0x00, "DS", "0.00125")
        dataset.private_block(0x7053, PET).add_new(0x02, "LO", "SECRET")
        item = with_private("SOMEONE ELSE", 0x7053, x00=("LO", "SECRET"))
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = "1.2.3", "1.2.4"
        dataset.ReferencedImageSequence = [item]

    for file in files:
        edit_file(file, edit)
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for file in written.files:
        target = pydicom.dcmread(file)
        assert shown(tag for tag in target.keys() if tag.is_private) == ["7053,0010", "7053,1000"]  # noqa: SIM118
        assert (target[0x70530010].value, target[0x70531000].value) == (PET, 0.00125)
        assert not any(element.tag.is_private for element in target.ReferencedImageSequence[0])
        assert b"SECRET" not in file.read_bytes()


def test_a_source_of_implicit_vr_says_not_what_they_are_and_the_new_series_does(make_series, tmp_path, derivation):
    files = make_series(modality="MR", volume_dhw=np.random.default_rng(1).integers(1, 50, (4, 6, 5)))

    def edit(dataset):
        dataset.private_block(0x0065, "Image Private Header", create=True).add_new(0x09, "FD", 850.0)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian

    for file in files:
        dataset = pydicom.dcmread(file)
        edit(dataset)
        dataset.save_as(file, implicit_vr=True, little_endian=True)
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    target = pydicom.dcmread(written.files[0])
    assert (target[0x00650010].VR, target[0x00651009].VR) == ("LO", "FD")
    assert target[0x00651009].value == target.DiffusionBValue == 850
