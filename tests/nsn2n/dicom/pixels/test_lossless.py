# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Compressed output holds every stored value, by the decoders of others too."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK

from nsn2n.dicom.pixels.lossless import ENCODINGS, compress, encoding
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.series_writer import WriteOptions, write_series
from nsn2n.errors import DicomError, SettingsError

CODINGS = {
    "12 bits": {},
    "16 bits, signed": {"BitsStored": 16, "HighBit": 15, "PixelRepresentation": 1},
    "12 bits, signed": {"PixelRepresentation": 1},
    "8 bits": {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7},
}


@pytest.fixture
def smooth_dhw():
    """A small volume that encoders can make smaller, of an odd number of pixels."""
    steps = np.random.default_rng(0).integers(-3, 4, size=(3, 65, 63))
    return steps.cumsum(axis=2).astype(float)


@pytest.mark.parametrize("name", ENCODINGS)
@pytest.mark.parametrize("coding", CODINGS)
def test_every_stored_value_comes_back(make_series, tmp_path, derivation, smooth_dhw, name, coding):
    series = read_series(make_series(smooth_dhw, overrides=CODINGS[coding]))
    plain = write_series(series.stack.values + 5, series.files, tmp_path / "plain", derivation)

    written = write_series(
        series.stack.values + 5, series.files, tmp_path / "out", derivation, options=WriteOptions(compression=name)
    )

    for native, file in zip(plain.files, written.files, strict=True):
        dataset = pydicom.dcmread(file)
        assert dataset.file_meta.TransferSyntaxUID == ENCODINGS[name].transfer_syntax
        assert dataset.SOPInstanceUID == dataset.file_meta.MediaStorageSOPInstanceUID
        assert "LossyImageCompression" not in dataset or dataset.LossyImageCompression == "00"
        np.testing.assert_array_equal(dataset.pixel_array, pydicom.dcmread(native).pixel_array)


@pytest.mark.parametrize("name", ENCODINGS)
def test_other_programs_read_it(make_series, tmp_path, derivation, smooth_dhw, name, dciodvfy_messages):
    series = read_series(make_series(smooth_dhw))

    written = write_series(
        series.stack.values, series.files, tmp_path / "out", derivation, options=WriteOptions(compression=name)
    )

    image = SimpleITK.ReadImage([str(file) for file in written.files])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), series.stack.values)
    assert not dciodvfy_messages(written.files) - dciodvfy_messages(series.files)


def test_compressed_files_are_smaller(make_series, tmp_path, derivation):
    series = read_series(make_series(np.zeros((2, 256, 256))))
    sizes = {}
    for name in ENCODINGS:
        written = write_series(
            series.stack.values, series.files, tmp_path / name, derivation, options=WriteOptions(compression=name)
        )
        sizes[name] = written.files[0].stat().st_size
    assert all(size < sizes["none"] / 10 for name, size in sizes.items() if name != "none")


def test_pixels_that_an_encoder_refuses(make_series, tmp_path, derivation):
    series = read_series(make_series())  # 6 x 8 pixels are too few for JPEG 2000
    with pytest.raises(DicomError, match=r"jpeg-2000; its encoder refused 8 x 6 pixels of 12 bits"):
        write_series(
            series.stack.values,
            series.files,
            tmp_path / "out",
            derivation,
            options=WriteOptions(compression="jpeg-2000"),
        )
    assert list((tmp_path / "out").iterdir()) == []


def test_nothing_is_done_where_nothing_is_asked_for(make_series):
    dataset = pydicom.dcmread(make_series()[0])
    before = bytes(dataset.PixelData)
    compress(dataset, "none")
    assert dataset.PixelData == before


def test_unknown_names():
    with pytest.raises(SettingsError, match=r"compression must be one of none, rle, jpeg-ls, jpeg-2000; got 'zip'"):
        encoding("zip")
    with pytest.raises(SettingsError, match="got 'zip'"):
        WriteOptions(compression="zip")
