# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Values of the SDK's metadata, read with care."""

from __future__ import annotations

import pytest
from pydicom.valuerep import DSfloat

from nsn2n.operators.image_metadata import known_modality, series_label, spacing_mm


def test_spacing_is_in_the_order_of_the_axes():
    metadata = {"row_pixel_spacing": DSfloat("0.75"), "col_pixel_spacing": 0.5, "depth_pixel_spacing": 2}

    assert spacing_mm(metadata) == (2.0, 0.75, 0.5)


@pytest.mark.parametrize("depth_mm", [None, 0.0, -1.0, float("nan")])
def test_spacing_that_is_no_distance_is_not_passed_on(depth_mm):
    metadata = {"row_pixel_spacing": 1.0, "col_pixel_spacing": 1.0, "depth_pixel_spacing": depth_mm}

    assert spacing_mm(metadata) is None


@pytest.mark.parametrize(("found", "expected"), [("CT", "CT"), (" mr", "MR"), ("US", None), (None, None)])
def test_only_modalities_of_volumes_are_passed_on(found, expected):
    assert known_modality({"Modality": found}) == expected


def test_label_names_the_series_and_nothing_of_the_patient():
    metadata = {"Modality": "CT", "SeriesNumber": 2, "SeriesInstanceUID": "2.25.1", "PatientName": "Doe^Jane"}

    assert series_label(metadata) == 'CT series 2 "" (2.25.1)'
    assert series_label({}) == '? series without number "" (no UID)'
