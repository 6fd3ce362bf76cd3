# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Synthetic series: valid, reproducible, obviously artificial, and with the values that were asked for."""

from __future__ import annotations

import numpy as np
import pydicom
import pytest
import SimpleITK

from nsn2n.errors import DicomError


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_series_is_valid(make_series, dciodvfy_messages, modality):
    assert not dciodvfy_messages(make_series(modality=modality))


def test_simpleitk_reads_values_and_geometry(make_series, noise_dhw):
    files = make_series(spacing_mm=(2.0, 0.4, 0.8), origin_mm=(-5.0, 6.5, 70.25))
    image = SimpleITK.ReadImage([str(file) for file in files])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), noise_dhw)
    assert image.GetSpacing() == pytest.approx((0.8, 0.4, 2.0))
    assert image.GetOrigin() == pytest.approx((-5.0, 6.5, 70.25))


@pytest.mark.parametrize(
    ("modality", "values", "expected"),
    [("CT", [-3000, -0.4, 9999], [-1024, 0, 3071]), ("MR", [-3, 1.6, 70000], [0, 2, 65535])],
)
def test_values_are_rounded_and_clipped(make_series, modality, values, expected):
    (file,) = make_series(np.array(values, dtype=float).reshape(1, 1, 3), modality=modality)
    image = SimpleITK.ReadImage([str(file)])
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image).ravel(), expected)


def test_seed_fixes_every_byte_and_no_seed_none(make_series):
    first, again = make_series(folder="a", seed="x"), make_series(folder="b", seed="x")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in again]
    uids = {
        pydicom.dcmread(make_series(folder=folder, seed=seed)[0]).SeriesInstanceUID
        for folder, seed in (("c", "y"), ("d", None), ("e", None))
    }
    assert len(uids) == 3


def test_series_of_one_study_share_its_frame_of_reference(make_series):
    first = make_series(series_number=1, study_uid="2.25.77", seed=None)
    second = make_series(series_number=2, study_uid="2.25.77", seed=None)
    one, two = pydicom.dcmread(first[0]), pydicom.dcmread(second[0])
    assert one.StudyInstanceUID == two.StudyInstanceUID == "2.25.77"
    assert one.FrameOfReferenceUID == two.FrameOfReferenceUID
    assert one.SeriesInstanceUID != two.SeriesInstanceUID


def test_overrides_set_delete_and_vary_by_slice(make_series):
    files = make_series(overrides={"KVP": None, "ProtocolName": "P", "SliceLocation": lambda index: index * 3})
    headers = [pydicom.dcmread(file) for file in files]
    assert "KVP" not in headers[0]
    assert {header.ProtocolName for header in headers} == {"P"}
    assert [header.SliceLocation for header in headers] == [0, 3, 6, 9, 12]


def test_patient_is_artificial(make_series):
    header = pydicom.dcmread(make_series()[0])
    assert (header.PatientName, header.PatientBirthDate) == ("NSN2N^PHANTOM", "")


def test_slices_of_another_series_are_not_mixed_in(make_series):
    make_series()
    with pytest.raises(DicomError, match=r"already has files S0001_I\*\.dcm\. Choose another folder"):
        make_series()


def test_array_that_is_no_volume_is_refused(make_series):
    with pytest.raises(DicomError, match=r"shape \(D, H, W\); got shape \(3, 3\)"):
        make_series(np.zeros((3, 3)))
