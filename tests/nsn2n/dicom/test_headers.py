# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Headers with more in them than memory should be taken for."""

from __future__ import annotations

import gc
import struct
import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.tag import Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ImplicitVRLittleEndian, RawDataStorage

from nsn2n.dicom.headers import kept_bytes, read_header
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.pixels.stored_pixels import read_image
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import plan_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError

CREATOR = b"\x29\x00\x10\x00LO\x04\0NAME"
ITEM, NO_MORE_ITEMS = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
PIXELS = b"\xe0\x7f\x10\x00OW"


def insert(file, *parts, before=PIXELS):
    """Put bytes, and holes of so many bytes, which take no place on the disk, before an element or at the end."""
    content = file.read_bytes()
    place = content.index(before) if before else len(content)
    with file.open("wb") as target:
        target.write(content[:place])
        for part in parts:
            if isinstance(part, int):
                target.seek(part, 1)
            else:
                target.write(part)
        target.write(content[place:])
        target.truncate()


def long_value(length):
    return (CREATOR, b"\x29\x00\x01\x10OB\0\0" + struct.pack("<I", length), length)


def long_fragments(length, group=b"\x29\x00"):
    fragment = (ITEM + struct.pack("<I", length), length)
    return (group + CREATOR[2:], group + b"\x01\x10OB\0\0\xff\xff\xff\xff", *fragment, *fragment, NO_MORE_ITEMS)


def long_sequence(items, group=b"\x29\x00"):
    """A private sequence of items that hold nothing."""
    return (
        group + CREATOR[2:],
        group + b"\x01\x10SQ\0\0\xff\xff\xff\xff" + (ITEM + b"\0\0\0\0") * items + NO_MORE_ITEMS,
    )


def make_raw(file):
    """Turn a slice into raw data, which has no pixels."""
    dataset = pydicom.dcmread(file)
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RawDataStorage
    dataset.SeriesInstanceUID = "1.2.3"
    dataset.save_as(file)


@pytest.fixture
def peak():
    """Bytes that Python took at most since the last question, besides those at the first one."""
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]

    def ask():
        highest = tracemalloc.get_traced_memory()[1] - start
        tracemalloc.reset_peak()
        return highest

    yield ask
    tracemalloc.stop()


LONG = 3_900_000_000


@pytest.mark.parametrize("parts", [long_value(LONG), long_fragments(LONG)], ids=["value", "fragments"])
def test_raw_data_of_gigabytes_is_left_alone_unread(make_series, peak, parts):
    files = make_series()
    make_raw(files[2])
    insert(files[2], *parts)
    selection = select_series(scan_folder(files[0].parent), default_rules())
    assert peak() < 5e6
    assert [len(record.files) for _, record in selection.selected] == [4]
    (alone,) = selection.left_alone
    assert "is Raw Data Storage, which is no CT, MR or PET image" in alone.reason
    assert "PixelData" not in read_header(files[2])
    assert peak() < 5e6


@pytest.mark.parametrize(
    ("parts", "before"),
    [
        (long_value(90_000_000), PIXELS),
        (long_fragments(90_000_000), PIXELS),
        (long_fragments(90_000_000, group=b"\xe1\x7f"), None),
        (long_fragments(90_000_000), None),
    ],
    ids=["value", "fragments", "after the pixels", "out of order"],
)
@pytest.mark.parametrize("enhanced", [False, True])
def test_long_private_values_of_slices_are_not_read(
    make_series, make_enhanced, noise_dhw, tmp_path, derivation, peak, parts, before, enhanced
):
    files = [make_enhanced()] if enhanced else make_series()
    plain = [pydicom.dcmread(file).PixelData for file in files]
    for file in files:
        insert(file, *parts, before=before)
    series = read_series(files)
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert peak() < 20e6
    assert [pydicom.dcmread(file).PixelData for file in written.files] == plain
    assert not any(tag.is_private for file in written.files for tag in read_header(file).keys())  # noqa: SIM118


def test_long_values_of_the_standard_are_copied_to_the_byte(make_series, tmp_path, derivation, edit_file):
    files = make_series()
    overlay = np.random.default_rng(1).bytes(10_000)
    comment = b"M\xfcller, in a character set that is not declared; " * 100
    for file in files:
        edit_file(file, lambda dataset: dataset.add_new(0x60003000, "OW", overlay))
        insert(file, b"\x10\x00\x00\x40LT" + struct.pack("<H", len(comment)) + comment, before=b"\x18\x00\x50\x00")
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    header = pydicom.dcmread(written.files[0])
    assert header.get_item(0x60003000).value == overlay
    assert header.get_item("PatientComments").value.rstrip(b" ") == comment.rstrip(b" ")


def test_a_standard_value_beyond_the_limit_is_refused_unread(make_series, peak):
    files = make_series()
    insert(files[2], b"\x00\x60\x00\x30OW\0\0" + struct.pack("<I", LONG), LONG)
    with pytest.raises(
        DicomError, match=r"longer than 67108864 bytes.*not counting long private values; it is \[.*I0003"
    ):
        read_series(files)
    assert peak() < 100e6


def test_the_memory_that_there_is_bounds_a_header(make_series, monkeypatch):
    file = make_series()[0]
    insert(file, b"\x00\x60\x00\x30OW\0\0" + struct.pack("<I", 2_000_000), 2_000_000)
    monkeypatch.setattr("nsn2n.dicom.input_limits.available_bytes", lambda: 80_000_000)
    assert len(read_header(file)[0x60003000].value) == 2_000_000
    monkeypatch.setattr("nsn2n.dicom.input_limits.available_bytes", lambda: 48_000_000)
    with pytest.raises(DicomError, match=r"not be longer than 1500000 bytes, for which there is memory, ") as caught:
        read_header(file)
    assert "\n" not in str(caught.value)


def test_a_long_value_without_length_is_refused(make_series):
    file = make_series()[0]
    insert(file, b"\x00\x60\x00\x30OW\0\0\xff\xff\xff\xff", ITEM + struct.pack("<I", 5000), 5000, NO_MORE_ITEMS)
    with pytest.raises(DicomError, match=r"must have a defined length; \(6000,3000\) does not"):
        read_header(file)


# --- sequences, into which pydicom looks at once if they do not say how long they are --------------------------------


LIMITS = Limits(header_bytes=100_000)


def test_items_of_nothing_count_as_what_they_take(make_series, peak):
    file = make_series()[0]
    insert(file, *long_sequence(10_000))
    with pytest.raises(DicomError, match="the header of a DICOM file must not be longer than 100000 bytes"):
        read_header(file, LIMITS)
    assert peak() < 10e6
    assert Tag(0x0029, 0x1001) not in read_header(file)


@pytest.mark.parametrize("group", [b"\x29\x00", b"\x09\x00"])
def test_raw_data_in_sequences_is_passed_over(make_series, group):
    files = make_series()
    make_raw(files[2])
    insert(files[2], *long_sequence(10_000, group), before=PIXELS if group == b"\x29\x00" else b"\x10\x00\x10\x00")
    scan = scan_folder(files[0].parent, LIMITS)
    selection = select_series(scan, default_rules())
    assert [len(record.files) for _, record in selection.selected] == [4]
    if group == b"\x29\x00":
        assert "Raw Data Storage" in selection.left_alone[0].reason
    else:
        assert [entry.reason for entry in scan.ignored] == ["not an image, and its header is too long to be read"]


def test_a_slice_with_a_long_sequence_fails_with_its_series_alone(make_series, monkeypatch):
    files = make_series()
    make_series(folder="in/other", series_number=2)
    insert(files[0], *long_sequence(10_000))
    monkeypatch.setattr("nsn2n.dicom.headers.UNASKED_BYTES", 100_000)
    monkeypatch.setattr("nsn2n.dicom.input_limits.Limits.most_of_header", lambda limits: (100_000, ""))
    selection = select_series(scan_folder(files[0].parent), default_rules())
    refused, other = sorted((record for _, record in selection.selected), key=lambda record: record.SeriesNumber)
    assert len(read_series(other.files).files) == 5
    with pytest.raises(DicomError, match=r"must not be longer than 100000 bytes.*S0001_I0001"):
        read_series(refused.files)


def test_a_slice_whose_series_stands_behind_a_long_sequence_ends_the_search(make_series):
    files = make_series()
    insert(files[0], *long_sequence(10_000, b"\x09\x00"), before=b"\x10\x00\x10\x00")
    with pytest.raises(DicomError, match=r"must not be longer than 100000 bytes.*S0001_I0001"):
        scan_folder(files[0].parent, LIMITS)


def test_a_slice_cut_inside_a_sequence_is_never_passed_over(make_series):
    files = make_series()
    insert(files[0], *long_sequence(100, b"\x09\x00"), before=b"\x10\x00\x10\x00")
    content = files[0].read_bytes()
    files[0].write_bytes(content[: content.index(NO_MORE_ITEMS)])
    with pytest.raises(DicomError, match=r"must be readable; got OSError \[.*S0001_I0001"):
        scan_folder(files[0].parent)


# --- what is kept ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_headers_keep_no_pixels(make_series, noise_dhw, peak, syntax):
    files = make_series(np.random.default_rng(0).integers(0, 4000, (3, 256, 256)).astype(float))
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
        del dataset
    before = tracemalloc.get_traced_memory()[0]
    plan = plan_series(files)
    assert tracemalloc.get_traced_memory()[0] - before < 200_000
    header = plan.slices[0].header
    assert header.file_meta.TransferSyntaxUID == syntax
    image = read_image(files[0])
    assert image.PixelData == pydicom.dcmread(files[0]).PixelData
    assert (image.original_encoding, image.file_meta.TransferSyntaxUID) == (header.original_encoding, syntax)


def test_what_headers_keep_is_estimated(make_series, make_enhanced):
    tracemalloc.start()
    try:
        for files in (make_series(np.zeros((40, 4, 4))), [make_enhanced(np.zeros((40, 4, 4)))]):
            plan_series(files)
            gc.collect()
            before = tracemalloc.get_traced_memory()[0]
            plan = plan_series(files)
            gc.collect()
            kept = tracemalloc.get_traced_memory()[0] - before
            assert 0.8 < kept_bytes(*(facts.header for facts in plan.slices)) / kept < 2
            del plan
    finally:
        tracemalloc.stop()


def test_headers_of_a_series_must_fit_into_memory(make_series, monkeypatch):
    files = make_series(np.zeros((40, 4, 4)))
    kept = kept_bytes(*(facts.header for facts in plan_series(files).slices))
    monkeypatch.setattr("nsn2n.dicom.read.slice_sorting.UNASKED_BYTES", 0)
    monkeypatch.setattr("nsn2n.dicom.read.slice_sorting.available_bytes", lambda: kept + 10_000)
    assert len(plan_series(files).slices) == 40
    monkeypatch.setattr("nsn2n.dicom.read.slice_sorting.available_bytes", lambda: kept // 2)
    read = []
    monkeypatch.setattr(
        "nsn2n.dicom.read.slice_sorting.read_header", lambda path, limits: read.append(path) or read_header(path)
    )
    with pytest.raises(DicomError, match=r"headers of a series must fit into memory; those of 40 files need") as caught:
        plan_series(files)
    assert "\n" not in str(caught.value)
    assert len(read) < 15


def test_siemens_header_of_the_image_is_kept_others_are_not(make_series, edit_file):
    file = make_series()[0]

    def add(dataset):
        block = dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True)
        block.add_new(0x10, "OB", bytes(10_000))
        block.add_new(0x20, "OB", bytes(10_000))

    edit_file(file, add)
    header = read_header(file)
    assert len(header[0x0029, 0x1010].value) == 10_000
    assert Tag(0x0029, 0x1020) not in header
