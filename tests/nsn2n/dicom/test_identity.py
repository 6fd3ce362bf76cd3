# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Whatever a valid series looks like, a denoiser that changes nothing gives it back: pixels, geometry, order."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nsn2n.dicom.read.series_reader import SeriesVolume, read_series
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.nsn2n.dicom.enhanced import enhance

DERIVATION = Derivation(description="identity", software_version="1")

OPTIONAL = (
    *("SliceThickness", "StudyDescription", "SeriesDescription", "BodyPartExamined", "PatientPosition", "StudyID"),
    *("AccessionNumber", "SeriesNumber", "InstanceNumber", "AcquisitionNumber", "SeriesDate", "SeriesTime"),
    *("ContentDate", "ContentTime", "PatientBirthDate", "PatientSex", "PositionReferenceIndicator", "Manufacturer"),
)
"""Attributes that may be missing from a series that is read all the same."""

UNTOUCHED = (
    *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope"),
    *("RescaleIntercept", "InstanceNumber", "PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID"),
    *("BitsStored", "PixelRepresentation", "PixelPaddingValue", "AcquisitionNumber", "EchoTime", "Rows", "Columns"),
)


@st.composite
def series_options(draw):
    """Values, geometry and attributes of a random series, as `write_synthetic_series` takes them."""
    depth, height, width = (draw(st.integers(low, 7)) for low in (2, 1, 1))
    modality = draw(st.sampled_from(["CT", "MR", "PT"]))
    bits = draw(st.sampled_from([8, 10, 12, 16]))
    signed = draw(st.booleans())
    allocated = 8 if bits == 8 and draw(st.booleans()) else 16
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    low = 0 if modality == "MR" else low  # magnitudes
    seed = draw(st.integers(0, 2**32 - 1))
    stored = np.random.default_rng(seed).integers(low, high, size=(depth, height, width), endpoint=True)
    intercepts = {"PT": [0.0], "MR": [0.0, 3.5, -0.125]}.get(modality, [0.0, -1024.0, 3.5, -0.125])
    intercept = draw(st.sampled_from(intercepts))
    slopes = [draw(st.floats(1e-3, 1e3)) for _ in range(depth if draw(st.booleans()) else 1)] * depth
    slopes = [float(f"{slope:.6g}") for slope in slopes[:depth]]
    angles = draw(st.tuples(*[st.sampled_from([0.0, 90.0, 180.0, -90.0, 12.5, -33.0])] * 3))
    row, column, normal = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    spacing_mm = tuple(float(f"{draw(st.floats(0.3, 6.0)):.4g}") for _ in range(3))
    lean = draw(st.sampled_from([0.0, 0.0, 0.3, -0.7]))
    step = spacing_mm[0] * (normal + lean * column)
    origin = np.array(draw(st.tuples(*[st.floats(-300, 300)] * 3)))
    overrides = {
        "BitsAllocated": allocated,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
        "RescaleSlope": lambda index: f"{slopes[index]:.6g}",
        "RescaleIntercept": f"{intercept:g}",
        "ImagePositionPatient": lambda index: [float(f"{value:.8g}") for value in origin + index * step],
        "PhotometricInterpretation": draw(st.sampled_from(["MONOCHROME1", "MONOCHROME2"])),
        **dict.fromkeys(draw(st.sets(st.sampled_from(OPTIONAL)))),
    }
    if draw(st.booleans()):
        overrides["PixelPaddingValue"] = int(stored.flat[0])
    values = stored * np.array(slopes)[:, None, None] + intercept
    options = {
        "modality": modality,
        "spacing_mm": spacing_mm,
        "orientation": [float(f"{v:.9g}") for v in (*row, *column)],
    }
    return stored, values, {**options, "overrides": overrides}, draw(st.permutations(range(depth)))


def check_identity(series: SeriesVolume, sources: list[Path], values: np.ndarray, folder: Path) -> list[Path]:
    """Check what was read, write it unchanged, and check what is read of that."""
    np.testing.assert_allclose(series.stack.values, values, rtol=1e-6, atol=1e-6)
    written = write_series(series.stack.values, series.files, folder, DERIVATION)
    again = read_series(written.files, allow_own_output=True)
    np.testing.assert_array_equal(again.stack.values, series.stack.values)
    assert again.geometry == series.geometry
    assert (written.clipped_voxels, written.voxels_moved_off_padding, written.rescaled_slices) == (0, 0, 0)
    if series.stack.mask is not None:
        np.testing.assert_array_equal(~again.stack.mask, ~series.stack.mask)
    for source, target in zip(map(pydicom.dcmread, sources), map(pydicom.dcmread, written.files), strict=True):
        assert target.PixelData == source.PixelData
        for keyword in UNTOUCHED:
            assert (keyword in target) == (keyword in source), keyword
            if keyword in source:
                assert target.get_item(keyword).value == source.get_item(keyword).value, keyword
    return list(written.files)


@settings(max_examples=25)
@given(made=series_options())
def test_single_frame_series(made):
    _, values, options, order = made
    with tempfile.TemporaryDirectory() as name:
        files = write_synthetic_series(values, Path(name, "in"), seed="identity", **options)
        series = read_series([files[index] for index in order])
        forward = series.files == tuple(files)
        assert forward, "slices follow the normal of their plane"
        check_identity(series, files, values, Path(name, "out"))


@settings(max_examples=15)
@given(made=series_options())
def test_enhanced_images(made):
    _, values, options, order = made
    missing = {"PatientPosition", "SliceThickness", "PositionReferenceIndicator"}
    options["overrides"] = {
        key: value for key, value in options["overrides"].items() if value is not None or key not in missing
    }
    with tempfile.TemporaryDirectory() as name:
        files = write_synthetic_series(values, Path(name, "in"), seed="identity", **options)
        image = enhance([files[index] for index in order], Path(name, "enhanced", "image.dcm"))
        series = read_series([image])
        np.testing.assert_allclose(series.stack.values, values, rtol=1e-6, atol=1e-6)
        (written,) = check_identity(series, [image], values, Path(name, "out"))
        frames = [pydicom.dcmread(file).PerFrameFunctionalGroupsSequence for file in (image, written)]
        for there, here in zip(*frames, strict=True):
            assert here.PlanePositionSequence == there.PlanePositionSequence
            assert here.PixelValueTransformationSequence == there.PixelValueTransformationSequence


@settings(max_examples=12)
@given(
    counts=st.lists(st.integers(3, 5), min_size=1, max_size=3),
    volumes=st.integers(1, 3),
    tilt=st.sampled_from([0.0, 0.4]),
    order=st.randoms(use_true_random=False),
)
def test_gaps_and_several_volumes(counts, volumes, tilt, order):
    places = [z for run, count in enumerate(counts) for z in range(10 * run, 10 * run + count)]
    depth = len(places)
    values = np.random.default_rng(depth).integers(0, 3000, (volumes * depth, 4, 5)).astype(float)
    overrides = {
        "ImagePositionPatient": lambda index: [0, tilt * places[index % depth], places[index % depth]],
        "EchoTime": lambda index: str(3 + index // depth),
    }
    with tempfile.TemporaryDirectory() as name:
        files = write_synthetic_series(values, Path(name, "in"), modality="MR", overrides=overrides, seed="identity")
        shuffled = list(files)
        order.shuffle(shuffled)
        series = read_series(shuffled)
        assert series.files == tuple(files)
        assert series.stack.parts == tuple(counts) * volumes
        check_identity(series, files, values, Path(name, "out"))


def test_the_check_finds_a_changed_pixel(make_series, noise_dhw, tmp_path):
    """What the tests above rely on."""
    files = make_series()
    series = read_series(files)
    series.stack.values[2, 3, 4] += 1
    with pytest.raises(AssertionError):
        check_identity(series, files, series.stack.values, tmp_path / "out")
