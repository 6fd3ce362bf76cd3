# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Order, parts and warnings of series that are not one even stack; the writer keeps them."""

from __future__ import annotations

import logging

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.read.slice_sorting import inspect_series, plan_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError
from nsn2n.stack.shear import Layout

POSITIONS = {
    "tilt": lambda index: [0, 0.3 * index, index],
    "gap": lambda index: [0, 0, index + (index > 2)],
    "two spacings": lambda index: [0, 0, [0, 4, 8, 9, 16, 23][index]],
    "shifted table": lambda index: [10 * (index > 2), 0, index],
}


@pytest.fixture
def volume_dhw():
    return np.random.default_rng(7).integers(-900, 2900, size=(6, 5, 7)).astype(float)


@pytest.fixture
def placed(make_series, volume_dhw):
    """Files of a series whose slices lie at other places than on an even grid."""

    def make(name, **options):
        return make_series(volume_dhw, overrides={"ImagePositionPatient": POSITIONS[name], **options})

    return make


@pytest.mark.parametrize(
    ("name", "parts"), [("tilt", (6,)), ("gap", (3, 3)), ("two spacings", (3, 3)), ("shifted table", (3, 3))]
)
def test_identity_keeps_pixels_and_places(placed, volume_dhw, tmp_path, derivation, name, parts):
    files = placed(name)
    series = read_series(files[::-1])
    np.testing.assert_array_equal(series.stack.values, volume_dhw)
    assert (series.stack.parts, series.files) == (parts, tuple(files))
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        assert target.PixelData == source.PixelData
        assert target.get_item("ImagePositionPatient").value == source.get_item("ImagePositionPatient").value
    assert read_series(written.files, allow_own_output=True).geometry == series.geometry


def test_tilt_is_logged_and_stays_in_the_affine(placed, caplog):
    caplog.set_level(logging.INFO)
    series = read_series(placed("tilt"))
    assert "sheared by 16.7 degrees (gantry tilt); its slices are not resampled" in caplog.text
    assert series.warnings == ()
    np.testing.assert_allclose(series.geometry.parts[0].affine_lps[:3, 2], (0, 0.3, 1))


@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (0.6, 0.8, 0, 0, 0, -1)])
@pytest.mark.parametrize("shear_px", [(2.0, 0.0), (-3.0, 1.0)])
def test_the_shear_moves_a_point_of_the_patient_onto_itself(make_series, orientation, shear_px):
    """One point of the patient, seen in each slice of a stack that leans; rows 0.5 mm, columns 0.25 mm apart."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    step = np.cross(row, column) + shear_px[0] * 0.5 * column + shear_px[1] * 0.25 * row
    volume_dhw = np.zeros((5, 40, 30))
    for index in range(5):
        volume_dhw[index, 20 - round(index * shear_px[0]), 15 - round(index * shear_px[1])] = 1000
    series = read_series(
        make_series(
            volume_dhw,
            orientation=orientation,
            spacing_mm=(1.0, 0.5, 0.25),
            overrides={"ImagePositionPatient": lambda index: [float(f"{value:.6f}") for value in index * step]},
        )
    )
    assert series.geometry.shears_px == (pytest.approx(shear_px, abs=1e-4),)
    assert series.stack.shears_px == series.geometry.shears_px
    canvas = Layout(volume_dhw.shape, series.geometry.shears_px[0]).spread(volume_dhw, 0)
    assert len({tuple(place) for place in np.argwhere(canvas == 1000)[:, 1:]}) == 1


def test_a_gap_is_warned_of_with_its_place(placed, caplog):
    series = read_series(placed("gap"))
    (warning,) = series.warnings
    assert "1 missing, a step of 2 mm among 1 mm" in warning
    assert "each run (3 at 1 mm, 3 at 1 mm) is denoised separately" in warning
    assert "between S0001_I0003.dcm and S0001_I0004.dcm" in warning
    assert [record.getMessage() for record in caplog.records] == [f"series {series.SeriesInstanceUID}: {warning}"]


def test_spacings_of_the_runs_are_reported(placed):
    (warning,) = read_series(placed("two spacings")).warnings
    assert "unevenly spaced (slice distances 1 to 7 mm, 2 evenly spaced runs)" in warning
    assert "(3 at 4 mm, 3 at 7 mm)" in warning


def test_slices_that_stand_alone_are_counted(make_series, volume_dhw):
    places = [0, 1, 2, 3, 6, 10]
    (warning,) = read_series(
        make_series(volume_dhw, overrides={"ImagePositionPatient": lambda index: [0, 0, places[index]]})
    ).warnings
    assert warning.endswith("; single slices that are not changed: 2")


def test_many_gaps_make_one_line(make_series, noise_dhw):
    volume_dhw = np.concatenate([noise_dhw] * 8)
    (warning,) = read_series(
        make_series(volume_dhw, overrides={"ImagePositionPatient": lambda index: [0, 0, index + index // 5 * 3]})
    ).warnings
    assert "and 4 more" in warning
    assert len(warning) < 600


def test_gaps_are_refused_where_that_is_asked_for(placed, make_series):
    files = placed("gap")
    with pytest.raises(DicomError, match=r"missing slices \(1 missing, a step of 2 mm among 1 mm.*never filled"):
        read_series(files, refuse_gaps=True)
    with pytest.raises(DicomError, match=r"\(0020,0032\).*missing slices.*S0001_I0004\.dcm"):
        inspect_series(files, refuse_gaps=True)
    read_series(make_series(folder="even"), refuse_gaps=True)


@pytest.mark.parametrize(
    ("places", "message"),
    [
        ([0, 1.3, 2, 3.3, 4, 5.3], r"unevenly spaced \(slice distances 0\.7 to 1\.3 mm, 3 evenly spaced runs\)"),
        ([0, 2, 3, 5, 6, 8], r"missing slices \(3 missing, a step of 2 mm among"),
    ],
)
def test_stacks_without_a_run_are_refused(make_series, volume_dhw, places, message):
    files = make_series(volume_dhw, overrides={"ImagePositionPatient": lambda index: [0, 0, places[index]]})
    with pytest.raises(DicomError, match=message):
        read_series(files)


@pytest.mark.parametrize(("thickness", "said"), [(2.5, True), (1.0, False), (None, False)])
def test_overlapping_slices_are_taken_and_remarked_on(make_series, volume_dhw, caplog, thickness, said):
    caplog.set_level(logging.INFO)
    files = make_series(volume_dhw, spacing_mm=(1.0, 1.0, 1.0), overrides={"SliceThickness": thickness})
    np.testing.assert_array_equal(read_series(files).stack.values, volume_dhw)
    assert ("slices of 2.5 mm overlap at steps of 1 mm" in caplog.text) == said


def test_a_gap_in_a_tilted_stack(make_series, volume_dhw):
    steps = [0, 1, 2, 3, 5, 6]
    plan = plan_series(
        make_series(volume_dhw, overrides={"ImagePositionPatient": lambda index: [0, 0.5 * steps[index], steps[index]]})
    )
    assert plan.geometry.slice_counts == (4, 2)
    assert plan.remarks == ("the stack is sheared by 26.6 degrees (gantry tilt); its slices are not resampled",)


def test_scanned_series_with_slices_taken_out(ct_phantom_folder):
    (record,) = scan_folder(ct_phantom_folder / "S2020").series
    whole = read_series(record.files)
    assert whole.stack.parts == (len(record.files),)
    without = read_series([file for index, file in enumerate(whole.files) if index not in (7, 8, 20)])
    assert without.stack.parts == (7, 11, len(whole.files) - 21)
    np.testing.assert_array_equal(without.stack.values[7:18], whole.stack.values[9:20])
    assert without.geometry.parts[1].position_mm == tuple(whole.headers[9].ImagePositionPatient)
