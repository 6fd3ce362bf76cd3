# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Inputs that are made to take time, memory or a place that is not theirs."""

from __future__ import annotations

import os
import tracemalloc
import zlib

import numpy as np
import pydicom
import pytest
from pydicom.sequence import Sequence
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from nsn2n.dicom.headers import read_header
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError, SettingsError


def refused(files, match):
    with pytest.raises(DicomError, match=match) as caught:
        read_series(files)
    assert "\n" not in str(caught.value)


# --- headers that promise more than there is ----------------------------------------------------------------


@pytest.mark.parametrize("compressed", [False, True])
def test_more_pixels_than_the_file_can_hold_are_refused_before_memory_is_taken(make_series, edit_file, compressed):
    files = make_series()
    for file in files:
        if compressed:
            edit_file(file, lambda dataset: dataset.compress(RLELossless, generate_instance_uid=False))
        edit_file(file, lambda dataset: [setattr(dataset, key, 20000) for key in ("Rows", "Columns")])
    tracemalloc.start()
    try:
        refused(files, r"PixelData \(7FE0,0010\) of 20000 x 20000 pixels must be in the file; 800000000 bytes")
        assert tracemalloc.get_traced_memory()[1] < 50e6
    finally:
        tracemalloc.stop()


def test_an_even_image_may_be_compressed_far(make_series, edit_file):
    volume_dhw = np.full((3, 512, 512), 40.0)
    files = make_series(volume_dhw)
    for file in files:
        edit_file(file, lambda dataset: dataset.compress(RLELossless, generate_instance_uid=False))
    np.testing.assert_array_equal(read_series(files).stack.values, volume_dhw)


def test_more_frames_than_the_file_can_hold_are_refused(make_enhanced):
    def repeat(image):
        first = image.PerFrameFunctionalGroupsSequence[0]
        image.PerFrameFunctionalGroupsSequence = Sequence([first] * 200)
        image.NumberOfFrames, image.Rows, image.Columns = 200, 5000, 5000

    refused([make_enhanced(edit=repeat)], r"5000 x 5000 pixels must be in the file; 10000000000 bytes are declared")


@pytest.mark.parametrize("frames", ["2147483647", "0", "-1"])
def test_numbers_of_frames_that_are_none_are_refused(make_enhanced, frames):
    refused([make_enhanced(edit=lambda image: setattr(image, "NumberOfFrames", frames))], "must describe each of the")


def deflated_bomb(file, megabytes):
    """A slice whose dataset is followed by zeros that deflate to nearly nothing."""
    dataset = pydicom.dcmread(file)
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(file, enforce_file_format=True)
    content = file.read_bytes()
    start = 144 + int.from_bytes(content[140:144], "little")
    plain = zlib.decompress(content[start:], -zlib.MAX_WBITS)
    deflater = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    packed = deflater.compress(plain) + deflater.compress(bytes(megabytes << 20)) + deflater.flush()
    file.write_bytes(content[:start] + packed)


def test_a_deflated_file_is_not_inflated_beyond_the_limit(make_series):
    files = make_series()
    deflated_bomb(files[2], 64)
    assert files[2].stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(DicomError, match=r"must not be longer than 1000000 bytes when inflated.*S0001_I0003"):
            scan_folder(files[0].parent, Limits(inflated_bytes=1_000_000))
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    with pytest.raises(DicomError, match="when inflated"):
        read_header(files[2], Limits(inflated_bytes=1_000_000))
    read_header(files[2], Limits())
    read_header(files[1], Limits(inflated_bytes=1))  # not deflated


def test_a_deflated_file_is_bounded_also_where_its_meta_information_has_no_length(make_series):
    file = make_series()[2]
    deflated_bomb(file, 64)
    content = file.read_bytes()
    assert content[132:140] == b"\x02\x00\x00\x00UL\x04\x00"
    file.write_bytes(content[:132] + content[144:])
    with pytest.raises(DicomError, match="must not be longer than 1000000 bytes when inflated"):
        read_header(file, Limits(inflated_bytes=1_000_000))


def test_a_deflated_file_is_not_inflated_beyond_the_memory_that_there_is(make_series, monkeypatch):
    files = make_series()
    deflated_bomb(files[2], 64)
    monkeypatch.setattr("nsn2n.dicom.input_limits.available_bytes", lambda: 40 << 20)
    tracemalloc.start()
    try:
        with pytest.raises(
            DicomError, match=r"longer than 20971520 bytes when inflated, for which there is memory; it is.*S0001_I0003"
        ) as caught:
            read_header(files[2], Limits())
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert "\n" not in str(caught.value)
    for available in (160 << 20, None):
        monkeypatch.setattr("nsn2n.dicom.input_limits.available_bytes", lambda there=available: there)
        read_header(files[2], Limits())


# --- folders ------------------------------------------------------------------------------------------------


def test_more_files_than_anyone_meant_are_refused(make_series):
    folder = make_series()[0].parent
    assert len(scan_folder(folder, Limits(files=5)).series[0].files) == 5
    with pytest.raises(DicomError, match=r"must hold 4 files at most.* Name the folder of one study"):
        scan_folder(folder, Limits(files=4))


@pytest.mark.parametrize("name", ["files", "inflated_bytes", "header_bytes", "compression"])
def test_a_limit_that_allows_nothing_is_refused(name):
    with pytest.raises(SettingsError, match=f"the limit {name} must be 1 or more; got 0"):
        Limits(**{name: 0})


def test_links_in_circles_and_pipes_do_not_hold_the_search(make_series):
    folder = make_series()[0].parent
    (folder / "loop").symlink_to(folder)
    (folder / "self.dcm").symlink_to(folder / "self.dcm")
    (folder / "sub").mkdir()
    (folder / "sub" / "up").symlink_to(folder.parent)
    os.mkfifo(folder / "endless.dcm")
    scan = scan_folder(folder)
    assert len(scan.series[0].files) == 5
    assert {entry.path.name for entry in scan.ignored} == {"loop", "self.dcm", "up", "endless.dcm"}


def test_folders_nested_beyond_any_call_are_searched(make_series):
    files = make_series()
    top = files[0].parent
    folders = [top]
    for _ in range(1200):
        folders.append(folders[-1] / "d")
    if len(str(folders[-1])) > 4000:
        pytest.skip("the temporary folder has too long a name for this test")
    for folder in folders[1:]:
        folder.mkdir()
    try:
        files[4].rename(folders[-1] / files[4].name)
        assert len(scan_folder(top).series[0].files) == 5
        (folders[-1] / files[4].name).unlink()
    finally:
        for folder in folders[:0:-1]:  # nor can what removes temporary folders go so deep
            folder.rmdir()


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", [40, 3000])
def test_deep_sequences_are_copied_or_refused(make_series, tmp_path, derivation, depth):
    files = make_series()
    element = b"\x40\x00\x30\xa7SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    for file in files:
        content = file.read_bytes()
        place = content.index(b"\xe0\x7f\x10\x00OW")
        closing = b"\xfe\xff\x0d\xe0\0\0\0\0\xfe\xff\xdd\xe0\0\0\0\0" * depth
        file.write_bytes(content[:place] + element * depth + closing + content[place:])
    if depth > 1000:
        with pytest.raises(DicomError, match=r"must be readable; got (RecursionError|OSError)") as caught:
            read_series(files)
        assert "\n" not in str(caught.value)
        return
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert pydicom.dcmread(written.files[0]).PixelData == pydicom.dcmread(files[0]).PixelData


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("text", ["../../../../tmp/escape", "a/b\\c", "\x1b[31mred\r\nsecond line", "x" * 5000])
def test_texts_of_a_header_name_no_place_and_steer_no_terminal(make_series, tmp_path, derivation, edit_file, text):
    files = make_series()
    for file in files:
        edit_file(file, lambda dataset: setattr(dataset, "SeriesDescription", text))
        edit_file(file, lambda dataset: setattr(dataset, "SeriesInstanceUID", text))
        edit_file(file, lambda dataset: setattr(dataset, "StudyInstanceUID", text))
    (record,) = scan_folder(files[0].parent).series
    assert record.label.isprintable()
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert written.folder.parent == tmp_path / "out"
    assert written.folder.name.replace(".", "").isdigit()
    with pytest.raises(DicomError) as caught:
        inspect_series(files[:1])
    assert str(caught.value).isprintable()
