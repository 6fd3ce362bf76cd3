# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Headers that promise what is not there, or more than memory can take, are refused before anything is allocated."""

from __future__ import annotations

import gzip
import os
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.files.nifti import read_nifti
from nsn2n.files.nifti_checks import check_nifti, checked_nifti_name

MIB = 1 << 20


def refused(path, match):
    tracemalloc.start()
    try:
        with pytest.raises(VolumeError, match=match) as caught:
            read_nifti(path)
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()
    assert str(caught.value).isprintable()
    assert path.name in str(caught.value)


def plain(path, shape=(6, 5, 4), dtype=np.int16, kind=nib.Nifti1Image, extension=None):
    image = kind(np.arange(np.prod(shape), dtype=np.float64).astype(dtype).reshape(shape), np.diag([1, 1, 2, 1]))
    if extension is not None:
        image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", extension))
    nib.save(image, path)
    return path


def patched(path, **fields):
    """Overwrite fields of a header in an uncompressed file."""
    content = bytearray(path.read_bytes())
    kind = nib.Nifti1Header if content[0] == 92 else nib.Nifti2Header
    header = kind(bytes(content[: kind.template_dtype.itemsize]), "<", check=False)
    for name, value in fields.items():
        header[name] = value
    content[: kind.template_dtype.itemsize] = header.binaryblock
    path.write_bytes(content)
    return path


def bomb(path, shape, zeros):
    """A compressed file of a header and zeros, written without holding them."""
    header = nib.Nifti2Header()
    header.set_data_dtype(np.int16)
    header.set_data_shape(shape)
    header["pixdim"][1:4] = 1, 1, 2
    deflater = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS | 16)
    with path.open("wb") as file:
        header["vox_offset"], header["magic"] = 544, b"n+2\0\r\n\x1a\n"
        file.write(deflater.compress(header.binaryblock + bytes(4)))
        for _ in range(zeros // MIB):
            file.write(deflater.compress(bytes(MIB)))
        file.write(deflater.flush())
    return path


def test_a_whole_file_passes(tmp_path):
    for kind in (nib.Nifti1Image, nib.Nifti2Image):
        for name in ("a.nii", "a.nii.gz"):
            check_nifti(plain(tmp_path / name, kind=kind, extension=b"some text"))


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("dim", "match"),
    [
        ([3, 30000, 30000, 30000, 1, 1, 1, 1], r"header declares 54\d{12} bytes; there are"),
        ([3, 6, 5, 5, 1, 1, 1, 1], "header declares"),
        ([3, 6, 5, -4, 1, 1, 1, 1], "1 to 7 of positive length"),
        ([3, 6, 5, 0, 1, 1, 1, 1], "1 to 7 of positive length"),
        ([9, 6, 5, 4, 1, 1, 1, 1], "1 to 7 of positive length"),
        ([0, 6, 5, 4, 1, 1, 1, 1], "1 to 7 of positive length"),
    ],
)
def test_axes_that_the_file_does_not_hold(tmp_path, kind, dim, match):
    refused(patched(plain(tmp_path / "a.nii", kind=kind), dim=dim), match)


@pytest.mark.parametrize("offset", [np.nan, np.inf, -1.0, 100.0, 352.5, 3e38, 1e9])
def test_voxels_that_begin_nowhere(tmp_path, offset):
    refused(patched(plain(tmp_path / "a.nii"), vox_offset=offset), "voxels must begin at byte 352 to")


def test_types_that_are_none(tmp_path):
    refused(patched(plain(tmp_path / "a.nii"), datatype=77), "its datatype code 77 is unknown")


def test_a_unit_of_space_that_is_none(tmp_path):
    refused(patched(plain(tmp_path / "a.nii"), xyzt_units=5), "unit of space with a code of 0 to 3; got 5")
    read_nifti(patched(plain(tmp_path / "a.nii"), xyzt_units=2 + 56))  # that of time is none: it stays as it is


@pytest.mark.parametrize("length", [0, 7, -16, 1 << 30])
def test_extensions_that_do_not_end(tmp_path, length):
    path = plain(tmp_path / "a.nii", extension=b"some text")
    content = bytearray(path.read_bytes())
    content[352:356] = struct.pack("<i", length)
    path.write_bytes(content)
    refused(path, f"extension at byte 352 must end before the voxels; its length is {length}")


@pytest.mark.parametrize("intent", [1005, 1006, 1007, 2003])
def test_several_numbers_at_each_voxel(tmp_path, intent):
    refused(
        patched(plain(tmp_path / "a.nii"), intent_code=intent),
        "one gray value at each voxel; according to its intent code",
    )


def test_some_kilobytes_that_would_fill_the_memory(tmp_path, monkeypatch):
    path = bomb(tmp_path / "a.nii.gz", (1000, 1000, 60), 120 * MIB)
    assert path.stat().st_size < MIB
    monkeypatch.setattr("nsn2n.runtime.memory.available_bytes", lambda: 1 << 30)
    refused(path, r"must fit into memory; its 1000 x 1000 x 60 voxels need .* GiB, 1\.0 GiB are available")


def test_a_compressed_file_that_holds_less_than_it_promises(tmp_path):
    refused(bomb(tmp_path / "a.nii.gz", (1000, 1000, 60), 60 * MIB), "declares 120000544 bytes; there are 62915104")


def test_what_is_behind_the_voxels_is_not_inflated_to_its_end(tmp_path):
    path = bomb(tmp_path / "a.nii.gz", (20, 20, 4), 200 * MIB)
    tracemalloc.start()
    try:
        assert read_nifti(path).stack.shape_dhw == (4, 20, 20)
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


def test_a_wrong_checksum_is_found(tmp_path):
    path = plain(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)
    refused(path, "CRC check failed")


def test_a_compressed_file_by_the_name_of_another(tmp_path):
    path = tmp_path / "a.nii"
    path.write_bytes(gzip.compress(plain(tmp_path / "b.nii").read_bytes()))
    refused(path, r"it is gzip-compressed\. Rename it to a\.nii\.gz")


def test_half_of_a_pair_by_its_header(tmp_path):
    refused(patched(plain(tmp_path / "a.nii"), magic=b"ni1"), r"the voxels are in an \.img file\. Join both")
    refused(patched(plain(tmp_path / "a.nii"), magic=b""), "no NIfTI magic")


def test_what_is_no_file_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "a.nii")
    (tmp_path / "b.nii").mkdir()
    for name in ("a.nii", "b.nii"):
        refused(tmp_path / name, "must be a file; it is a folder, a device or a pipe")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("t1.hdr", r"nib.save\(nib.load\('t1.hdr'\), 't1.nii.gz'\)"),
        ("t1.IMG", r"one of a pair of files"),
        ("t1.img.gz", r"nib.load\('t1.img.gz'\), 't1.nii.gz'"),
        ("t1.mgz", r"nib.load\('t1.mgz'\), 't1.nii.gz'"),
        ("t1.nii.zst", r"zstd -d t1.nii.zst"),
        ("t1.nrrd", r"ReadImage\('t1.nrrd'\), 't1.nii.gz'"),
        ("t1.dcm", r"Name the folder that holds the series"),
        ("t1.gz", r"must end in .nii or .nii.gz; got .*t1.gz. Rename or convert it"),
    ],
)
def test_other_formats_are_refused_with_how_they_become_nifti(tmp_path, name, advice):
    with pytest.raises(VolumeError, match=advice) as caught:
        checked_nifti_name(tmp_path / name)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("name", ["t1.mgz", "t1.hdr"])
def test_the_advice_works(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Pair
    nib.save(kind(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)), name)
    with pytest.raises(VolumeError) as caught:
        read_nifti(name)
    exec(str(caught.value).split('"')[1])
    assert read_nifti("t1.nii.gz").stack.values.size == 24
