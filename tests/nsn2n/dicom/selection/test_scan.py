# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is found in a folder, what is passed over with a reason, and what stops the search."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import shutil
import tarfile
import zipfile

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    MediaStorageDirectoryStorage,
    generate_uid,
)

from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.errors import DicomError


def test_series_are_grouped_and_sorted_through_subfolders(make_series):
    second = make_series(folder="in/b", series_number=2, series_description="two")
    first = make_series(folder="in/a/deep", modality="MR", series_number=1, series_description="one")
    scan = scan_folder(first[0].parents[2])
    assert [record.SeriesDescription for record in scan.series] == ["one", "two"]
    assert [record.files for record in scan.series] == [tuple(first), tuple(second)]
    record = scan.series[0]
    assert (record.Modality, record.SeriesNumber) == ("MR", 1)
    assert record.ImageType == ("ORIGINAL", "PRIMARY", "OTHER")
    assert record.label == f'MR series 1 "one" ({record.SeriesInstanceUID})'
    assert (record.Rows, record.Columns) == (6, 8)
    assert record.read_header().SeriesNumber == 1
    assert scan.ignored == ()


def test_files_of_one_series_in_two_folders_are_one_series(make_series):
    files = make_series()
    other = files[0].parent / "rest"
    other.mkdir()
    shutil.move(files[4], other)
    (record,) = scan_folder(files[0].parent).series
    assert len(record.files) == 5


def test_what_is_no_image_is_listed_with_its_reason(make_series, tmp_path):
    folder = make_series()[0].parent
    (folder / "notes.txt").write_text("hello")
    (folder / "empty.dcm").touch()
    (folder / "random.bin").write_bytes(bytes(range(256)) * 4)
    (folder / "gone.dcm").symlink_to(tmp_path / "nowhere")
    (folder / "5.dcm").mkdir()
    (folder / "link").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    index = Dataset()
    index.file_meta = FileMetaDataset()
    index.file_meta.MediaStorageSOPClassUID = MediaStorageDirectoryStorage
    index.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    index.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    index.FileSetID = "DISC"
    index.save_as(folder / "DIRFILE", enforce_file_format=True)
    scan = scan_folder(folder)
    assert [len(record.files) for record in scan.series] == [5]
    assert {entry.path.name: entry.reason for entry in scan.ignored} == {
        "notes.txt": "not DICOM: no DICM prefix",
        "empty.dcm": "not DICOM: no DICM prefix",
        "random.bin": "not DICOM: no DICM prefix",
        "gone.dcm": "broken link",
        "5.dcm": "folder with the name of a file; its content is searched",
        "link": "link to a folder, not followed",
        "pipe": "not a regular file",
        "DIRFILE": "DICOMDIR: an index of files, not an image",
    }


def test_unreadable_file_is_listed(make_series, bound_by_permissions):
    files = make_series()
    files[0].chmod(0)
    with bound_by_permissions():
        (entry,) = scan_folder(files[0].parent).ignored
    assert entry.reason == "cannot be opened (PermissionError)"


def test_folder_without_dicom_is_refused(tmp_path):
    with pytest.raises(DicomError, match=r"no DICOM found in .*: it is empty"):
        scan_folder(tmp_path)
    with pytest.raises(DicomError, match=r"no DICOM found in .*gone: it does not exist"):
        scan_folder(tmp_path / "gone")
    note = tmp_path / "note.txt"
    note.write_text("hello")
    with pytest.raises(DicomError, match=r"note\.txt: it is a file, not a folder"):
        scan_folder(note)
    with pytest.raises(DicomError, match=r"1 entries, none a DICOM image \(note\.txt: not DICOM"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("length", [140, 200, 400, 600])
def test_file_cut_before_its_series_uid_is_never_passed_over(make_series, length):
    files = make_series()
    files[2].write_bytes(files[2].read_bytes()[:length])
    with pytest.raises(DicomError, match=r"SeriesInstanceUID \(0020,000E\) must have a value .*S0001_I0003\.dcm"):
        scan_folder(files[0].parent)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
@pytest.mark.parametrize("skipped", ["preamble", "preamble and meta"])
def test_slice_without_its_prefix_is_never_passed_over(make_series, syntax, skipped):
    files = make_series()
    dataset = pydicom.dcmread(files[1])
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(files[1], implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    content = files[1].read_bytes()
    start = 132 if skipped == "preamble" else content.index(b"\x08\x00\x08\x00")
    files[1].write_bytes(content[start:])
    with pytest.raises(DicomError, match=r"looks like DICOM but has no DICM prefix \[.*S0001_I0002\.dcm\]"):
        scan_folder(files[0].parent)


def test_slice_with_a_damaged_prefix_is_never_passed_over(make_series):
    files = make_series()
    content = bytearray(files[4].read_bytes())
    content[128] ^= 1
    files[4].write_bytes(content)
    with pytest.raises(DicomError, match=r"looks like DICOM but has no DICM prefix \[.*S0001_I0005\.dcm\]"):
        scan_folder(files[0].parent)


@pytest.mark.parametrize("number", [None, ""])
def test_series_without_number_has_a_label(make_series, number):
    (record,) = scan_folder(make_series(overrides={"SeriesNumber": number})[0].parent).series
    assert record.SeriesNumber is None
    assert record.label.startswith('CT series without number "Synthetic phantom" (')


def gzipped(content):
    return gzip.compress(content)


def zipped(content):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM1.dcm", content)
    return buffer.getvalue()


def tarred(content):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("IM1.dcm")
        entry.size = len(content)
        archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


PACKED = {
    "IM1.dcm.gz": (gzipped, "it is gzip-compressed: unpack it first"),
    "IM1.gz": (gzipped, "it is gzip-compressed: unpack it first"),
    "IM1.dcm": (gzipped, "it is gzip-compressed: unpack it first"),
    "study.tar.gz": (tarred, "it is gzip-compressed: unpack it first"),
    "study.zip": (zipped, "it is a ZIP archive: unpack it first"),
    "IM1.dcm.bz2": (bz2.compress, "it is bzip2-compressed: unpack it first"),
    "IM1.dcm.xz": (lzma.compress, "it is xz-compressed: unpack it first"),
}


@pytest.mark.parametrize("name", PACKED)
def test_packed_files_are_named_with_what_to_do(make_series, tmp_path, caplog, name):
    files = make_series()
    pack, reason = PACKED[name]
    packed = tmp_path / "packed" / name
    packed.parent.mkdir()
    packed.write_bytes(pack(files[0].read_bytes()))
    (tmp_path / "packed" / "a note.txt").write_text("no image")
    with pytest.raises(DicomError) as caught:
        scan_folder(tmp_path / "packed")
    assert f"2 entries, none a DICOM image ({name}: {reason}; a note.txt: not DICOM" in str(caught.value)
    assert str(caught.value).endswith(" Unpack them.")

    # Beside others a slice is missing, which must not be passed over without a word.
    packed.rename(files[0].with_name("packed " + name))
    scan = scan_folder(files[0].parent)
    assert len(scan.series[0].files) == len(files)
    (warning,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert warning.startswith("1 archive files in ")
    assert warning.endswith(f"packed {name}: {reason}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("t1.nii.gz", gzipped(b"\x5c\x01\0\0" + bytes(500))),
        ("report.docx", zipped(b"text")),
        ("cut.gz", gzipped(bytes(500))[:12]),
        ("damaged.gz", b"\x1f\x8b" + bytes(40)),
    ],
    ids=["NIfTI", "document", "cut", "damaged"],  # not by their content, which has the time in it
)
def test_packed_files_that_hold_no_slices_are_no_dicom(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DicomError, match=r"not DICOM: no DICM prefix\)\. Name the folder"):
        scan_folder(tmp_path)
