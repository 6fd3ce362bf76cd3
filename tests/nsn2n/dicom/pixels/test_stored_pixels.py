# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Pixels of frames in all transfer syntaxes; those of single slices are in `test_reader` and `test_pixel_codecs`."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from nsn2n.dicom.pixels.stored_pixels import read_stored
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import plan_series
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError


def save_as(file, syntax):
    """Save an enhanced image in another uncompressed transfer syntax."""
    image = pydicom.dcmread(file)
    for element in image.iterall():  # read in the old encoding before it changes
        element.value  # noqa: B018
    rebuilt = pydicom.Dataset()
    rebuilt.file_meta = image.file_meta
    rebuilt.update({element.tag: element for element in image})
    rebuilt.file_meta.TransferSyntaxUID = syntax
    if syntax == ExplicitVRBigEndian:
        rebuilt.PixelData = np.frombuffer(image.PixelData, "<u2").astype(">u2").tobytes()
    rebuilt.save_as(file, enforce_file_format=True)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_uncompressed_syntaxes_read_and_write_the_same(make_enhanced, noise_dhw, tmp_path, derivation, syntax):
    file = make_enhanced()
    plain = pydicom.dcmread(file).PixelData
    save_as(file, syntax)
    series = read_series([file])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert pydicom.dcmread(written.files[0]).PixelData == plain


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_compressed_frames_are_decoded_one_by_one(make_enhanced, tmp_path, derivation, syntax):
    noise_dhw = np.random.default_rng(2).integers(-900, 2900, size=(5, 32, 34)).astype(float)
    file = make_enhanced(noise_dhw)
    image = pydicom.dcmread(file)
    plain = image.PixelData
    image.compress(syntax, generate_instance_uid=False)
    image.save_as(file)
    series = read_series([file])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert pydicom.dcmread(written.files[0]).PixelData == plain


@pytest.mark.parametrize("count", [4, 6])
def test_another_number_of_compressed_frames_is_refused(make_enhanced, count):
    file = make_enhanced()
    image = pydicom.dcmread(file)
    image.compress(RLELossless, generate_instance_uid=False)
    frames = list(generate_frames(image.PixelData, number_of_frames=5))
    image.PixelData = encapsulate([*frames, *frames][:count])
    image.save_as(file)
    with pytest.raises(DicomError, match=r"PixelData \(7FE0,0010\) must hold 5 frames .*image\.dcm") as caught:
        read_series([file])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 1, 1), (3, 1, 3), (4, 3, 3)])
def test_frames_of_odd_length_are_not_padded_one_by_one(make_enhanced, tmp_path, derivation, shape):
    volume_dhw = np.arange(np.prod(shape)).reshape(shape) + 5.0
    eight_bits = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}
    file = make_enhanced(volume_dhw, modality="MR", overrides=eight_bits)
    assert len(pydicom.dcmread(file).PixelData) % 2 == 0
    series = read_series([file])
    np.testing.assert_array_equal(series.stack.values, volume_dhw)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert pydicom.dcmread(written.files[0]).PixelData == pydicom.dcmread(file).PixelData


def test_places_are_those_of_the_slices_given(make_series, make_enhanced, noise_dhw):
    for files in (make_series(), [make_enhanced()]):
        slices = plan_series(files).slices
        found = dict(read_stored(slices[::-1]))
        assert sorted(found) == [0, 1, 2, 3, 4]
        for place, stored_hw in found.items():
            np.testing.assert_array_equal(stored_hw, noise_dhw[4 - place] + 1024)


def test_one_frame_is_in_memory_at_a_time(make_enhanced):
    """64 frames of 128 KiB: the whole file would be 8 MiB."""
    slices = plan_series([make_enhanced(np.zeros((64, 256, 256)))]).slices
    tracemalloc.start()
    try:
        for _ in read_stored(slices):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20
