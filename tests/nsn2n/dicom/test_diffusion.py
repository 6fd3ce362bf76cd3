# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""b-values and directions that only private attributes tell are in the derived series, and tell volumes apart."""

from __future__ import annotations

import logging
import struct

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.series_writer import write_series

DEPTH = 4
B_VALUES = (0, 800)
VECTOR = (0.48, -0.6, 0.64)
COS, SIN = 0.8, 0.6
TILTED = (COS, SIN, 0, -SIN, COS, 0)
"""Axial slices, turned in their plane."""


def siemens(dataset, b_value, vector):
    block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
    block.add_new(0x0C, "IS", b_value)
    if b_value:
        block.add_new(0x0D, "CS", "DIRECTIONAL")
        block.add_new(0x0E, "FD", list(vector))


def siemens_csa(dataset, b_value, vector):
    entries = {"B_value": [str(b_value)], "DiffusionGradientDirection": [f"{x:.8f}" for x in vector] if b_value else []}
    dataset.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(0x10, "OB", csa_header(entries))


def csa_header(entries):
    """The binary header of Siemens, of its second version."""
    data = b"SV10\4\3\2\1" + struct.pack("<2I", len(entries), 77)
    for name, items in entries.items():
        data += struct.pack("<64si4s3i", name.encode(), 1, b"FD\0\0", 4, len(items), 77)
        for item in items:
            value = item.encode() + b"\0"
            data += struct.pack("<4i", len(value), len(value), 77, len(value)) + value + bytes(-len(value) % 4)
    return data + bytes(-len(data) % 2)


def philips(dataset, b_value, vector):
    dataset.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x03, "FL", float(b_value))
    block = dataset.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
    for element, component in zip((0xB0, 0xB1, 0xB2), vector, strict=True):
        block.add_new(element, "FL", component if b_value else 0.0)


def united(dataset, b_value, vector):
    block = dataset.private_block(0x0065, "Image Private Header", create=True)
    block.add_new(0x09, "FD", float(b_value))
    block.add_new(0x37, "FD", list(vector) if b_value else [0.0, 0.0, 0.0])


def ge(dataset, b_value, vector):
    dataset.private_block(0x0043, "GEMS_PARM_01", create=True).add_new(0x39, "IS", [1_000_000_000 + b_value, 8, 0, 0])
    block = dataset.private_block(0x0019, "GEMS_ACQU_01", create=True)
    for element, component in zip((0xBB, 0xBC, 0xBD), vector, strict=True):
        block.add_new(element, "DS", str(component if b_value else 0.0))


x, y, z = VECTOR
IN_PLANE = (COS * x - SIN * y, SIN * x + COS * y, z)
"""What is along row, column and normal, along the axes of the patient."""

GE_IN_PLANE = (-COS * x + SIN * y, -SIN * x - COS * y, z)

VENDORS = {
    "Siemens": (siemens, VECTOR),
    "older Siemens": (siemens_csa, VECTOR),
    "Philips": (philips, VECTOR),
    "United Imaging": (united, IN_PLANE),
    "GE": (ge, GE_IN_PLANE),
}


@pytest.fixture
def series_of(make_series, edit_file):
    """Files of two volumes, with the attributes of a vendor."""

    def make(add, *, b_values=B_VALUES, vector=VECTOR, **overrides):
        volumes_dhw = np.random.default_rng(6).integers(100, 3000, (len(b_values) * DEPTH, 6, 5)).astype(float)
        placed = {
            "ImagePositionPatient": lambda index: [0, 0, 2 * (index % DEPTH)],
            "InPlanePhaseEncodingDirection": "COL",
            **overrides,
        }
        files = make_series(volumes_dhw, modality="MR", orientation=TILTED, overrides=placed)
        for index, file in enumerate(files):
            edit_file(file, lambda dataset, index=index: add(dataset, b_values[index // DEPTH], vector))
        return files

    return make


@pytest.fixture
def derived(series_of, tmp_path, derivation):
    """The datasets of the series that is derived from it."""

    def make(*arguments, **options):
        series = read_series(series_of(*arguments, **options))
        written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
        return [pydicom.dcmread(file) for file in written.files]

    return make


@pytest.mark.parametrize("vendor", VENDORS)
def test_private_values_become_the_standard_ones(derived, vendor):
    add, expected = VENDORS[vendor]
    for index, target in enumerate(derived(add)):
        assert target.DiffusionBValue == B_VALUES[index // DEPTH]
        if target.DiffusionBValue:
            np.testing.assert_allclose(target.DiffusionGradientOrientation, expected, atol=1e-6)
        else:
            assert "DiffusionGradientOrientation" not in target


@pytest.mark.parametrize("vendor", VENDORS)
def test_volumes_are_split_by_them(series_of, caplog, vendor):
    """Also where the numbers of the images say nothing."""
    caplog.set_level(logging.INFO)
    add, _ = VENDORS[vendor]
    files = series_of(add, InstanceNumber=lambda index: index % DEPTH + 1, AcquisitionNumber=1)
    series = read_series(files[::-1])
    assert series.files == tuple(files)
    assert "2 volumes of 4 slices, by DiffusionBValue (0018,9087)" in caplog.text


def test_validators_find_no_new_error(series_of, tmp_path, derivation, dciodvfy_messages):
    files = series_of(siemens)
    series = read_series(files)
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    added = dciodvfy_messages(written.files) - dciodvfy_messages(files)
    assert not [line for line in added if line.startswith("Error")]


def test_standard_values_are_not_touched(derived):
    standard = {"DiffusionBValue": 801.5, "DiffusionGradientOrientation": [0.0, 1.0, 0.0]}
    targets = derived(siemens, **{**standard, "EchoTime": lambda index: str(5 + index // DEPTH)})
    assert {target.DiffusionBValue for target in targets} == {801.5}
    assert {tuple(target.DiffusionGradientOrientation) for target in targets} == {(0, 1, 0)}


@pytest.mark.parametrize(
    "overrides",
    [
        {"InPlanePhaseEncodingDirection": "ROW"},
        {"InPlanePhaseEncodingDirection": None},
        {"PatientPosition": "FFS"},
        {"InstanceNumber": lambda index: index // DEPTH * DEPTH + DEPTH - index % DEPTH},
    ],
    ids=["rows", "unknown", "feet first", "downward"],
)
def test_a_direction_of_ge_whose_signs_are_not_known_stays_as_it_is(derived, overrides):
    for index, target in enumerate(derived(ge, **overrides)):
        assert target.DiffusionBValue == B_VALUES[index // DEPTH]
        assert "DiffusionGradientOrientation" not in target
        block = target.private_block(0x0019, "GEMS_ACQU_01")
        kept = [float(block[element].value) for element in (0xBB, 0xBC, 0xBD)]
        assert kept == (list(VECTOR) if target.DiffusionBValue else [0, 0, 0])


def test_a_short_vector_of_ge_lowers_the_b_value(derived):
    targets = derived(ge, vector=tuple(0.5 * component for component in VECTOR))
    assert [target.DiffusionBValue for target in targets] == pytest.approx([0] * DEPTH + [200] * DEPTH)
    np.testing.assert_allclose(targets[-1].DiffusionGradientOrientation, GE_IN_PLANE, atol=1e-6)


def test_numbers_of_ge_in_other_scans_are_no_b_values(derived):
    targets = derived(ge, b_values=(7, 7), vector=(12.0, 3.0, 0.0), EchoTime=lambda index: str(5 + index // DEPTH))
    assert not any("DiffusionBValue" in target for target in targets)


def test_scans_without_diffusion_get_no_b_value(derived):
    targets = derived(philips, b_values=(0, 0), EchoTime=lambda index: str(5 + index // DEPTH))
    assert not any("DiffusionBValue" in target for target in targets)


def test_an_image_of_no_direction_gets_none(derived):
    """A trace image has a b-value, and 0 or a mark for its direction."""
    targets = derived(philips, vector=(0.0, 0.0, 0.0))
    assert [target.DiffusionBValue for target in targets] == [0] * DEPTH + [800] * DEPTH
    assert not any("DiffusionGradientOrientation" in target for target in targets)


def test_a_damaged_csa_header_tells_nothing(derived):
    def damaged(dataset, b_value, vector):
        siemens_csa(dataset, b_value, vector)
        element = dataset.private_block(0x0029, "SIEMENS CSA HEADER")[0x10]
        element.value = element.value[:90]

    assert not any("DiffusionBValue" in target for target in derived(damaged))
