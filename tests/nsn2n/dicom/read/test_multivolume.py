# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Series of several volumes: which slice belongs to which, and that each gets its pixels back."""

from __future__ import annotations

import logging
from functools import partial

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from nsn2n import denoise
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError
from nsn2n.jobs.dicom_job import denoise_folder

VOLUMES, DEPTH = 3, 4

ORDERED = {
    "echoes": ("MR", {"EchoTime": lambda volume, _z: str(5 * (volume + 1))}, r"EchoTime (0018,0081): 5"),
    "b-values": ("MR", {"DiffusionBValue": lambda volume, _z: 500.0 * volume}, r"DiffusionBValue (0018,9087): 0"),
    "directions": (
        "MR",
        {
            "DiffusionBValue": lambda volume, _z: 1000.0 * (volume > 0),
            "DiffusionGradientOrientation": lambda volume, _z: [[0, 0, 0], [0, 1, 0], [1, 0, 0]][volume],
        },
        "DiffusionBValue (0018,9087) and DiffusionGradientOrientation (0018,9089)",
    ),
    "time points": ("MR", {"TemporalPositionIdentifier": lambda volume, _z: volume + 1}, "TemporalPositionIdentifier"),
    "cine": ("MR", {"TriggerTime": lambda volume, z: str(40 * volume + 3 * z)}, "the order of TriggerTime"),
    "dynamic PET": (
        "PT",
        {"AcquisitionTime": lambda volume, z: f"1200{volume:02d}.{z}"},
        "the order of AcquisitionTime",
    ),
    "dynamic PET past midnight": (
        "PT",
        {
            "AcquisitionDate": lambda volume, z: "20260101" if 4 * volume + z < 6 else "20260102",
            "AcquisitionTime": lambda volume, z: f"23595{4 * volume + z}" if 4 * volume + z < 6 else f"0000{volume}{z}",
            "InstanceNumber": lambda _volume, z: z + 1,
        },
        "the order of AcquisitionTime",
    ),
    # A GE EPI series: only InstanceNumber differs, position by position.
    "EPI": ("MR", {"InstanceNumber": lambda volume, z: z * VOLUMES + volume + 1}, "the order of InstanceNumber"),
    "volume by volume": ("MR", {}, "the order of InstanceNumber"),
    "two tubes": ("CT", {"KVP": lambda volume, _z: str(80 + 20 * volume)}, "KVP (0018,0060): 80"),
}


def overrides_of(attributes):
    """The overrides of `write_synthetic_series` for functions of volume and position."""
    placed = {"ImagePositionPatient": lambda _volume, z: [0, 0, 2 * z], **attributes}
    return {key: lambda index, of=of: of(index // DEPTH, index % DEPTH) for key, of in placed.items()}


@pytest.fixture
def volumes_dhw():
    """Three volumes of four slices, one after the other; no two slices are alike."""
    return np.random.default_rng(4).integers(100, 3000, (VOLUMES * DEPTH, 6, 5)).astype(float)


@pytest.mark.parametrize("name", ORDERED)
def test_each_slice_goes_to_its_volume_and_back_to_its_place(
    make_series, volumes_dhw, tmp_path, derivation, caplog, name
):
    caplog.set_level(logging.INFO)
    modality, attributes, told = ORDERED[name]
    files = make_series(volumes_dhw, modality=modality, overrides=overrides_of(attributes))
    shuffled = [files[index] for index in np.random.default_rng(1).permutation(len(files))]
    series = read_series(shuffled)
    assert series.stack.parts == (DEPTH,) * VOLUMES
    assert series.files == tuple(files)
    assert f"3 volumes of 4 slices, by {told}" in caplog.text
    assert series.geometry.spacings_mm == ((2, 1, 1),) * VOLUMES
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    for source, target in zip(map(pydicom.dcmread, files), map(pydicom.dcmread, written.files), strict=True):
        assert target.PixelData == source.PixelData
        assert target.SourceImageSequence[0].ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert target.InstanceNumber == source.InstanceNumber
        assert target.get("EchoTime") == source.get("EchoTime")


def test_numbers_are_ordered_as_numbers(make_series, volumes_dhw):
    echoes = {"EchoTime": lambda volume, _z: ["20", "100", "9.5"][volume]}
    series = read_series(make_series(volumes_dhw, modality="MR", overrides=overrides_of(echoes)))
    assert [str(series.headers[index].EchoTime) for index in (0, 4, 8)] == ["9.5", "20", "100"]


def test_a_series_of_several_volumes_is_selected_and_each_denoised_alone(make_series, volumes_dhw, tmp_path):
    noise_dhw = np.rint(np.random.default_rng(8).normal(500, 30, (VOLUMES * DEPTH, 20, 24)))
    _, attributes, _ = ORDERED["echoes"]
    files = make_series(noise_dhw, modality="MR", overrides=overrides_of(attributes))
    assert len(select_series(scan_folder(files[0].parent), default_rules()).selected) == 1
    fit = {"steps": 3, "crop_px": 16, "reuse": False}
    brief = {"fit": fit, "network": {"channels": 4, "levels": 2}, "refit": {"steps": 2}}
    run = partial(denoise, config=brief, device="cpu")

    (outcome,) = denoise_folder(files[0].parent, tmp_path / "out", denoise=run)

    derived = read_series(outcome.written.files, allow_own_output=True)
    for volume in range(VOLUMES):
        part = slice(volume * DEPTH, (volume + 1) * DEPTH)
        expected = run(noise_dhw[part], modality="MR", spacing_mm=(2.0, 1.0, 1.0)).volume
        np.testing.assert_allclose(derived.stack.values[part], expected, atol=0.5)
    assert "3 parts, each fitted alone" in derived.headers[0].DerivationDescription


def test_a_gap_in_all_volumes_makes_parts_of_each(make_series, volumes_dhw, caplog):
    _, attributes, _ = ORDERED["echoes"]
    placed = overrides_of({**attributes, "ImagePositionPatient": lambda _volume, z: [0, 0, 2 * z + 4 * (z == 3)]})
    series = read_series(make_series(volumes_dhw, modality="MR", overrides=placed))
    assert series.stack.parts == (3, 1) * VOLUMES
    assert len(caplog.records) == 1


def refused(files):
    with pytest.raises(DicomError) as caught:
        read_series(files)
    message = str(caught.value)
    assert "\n" not in message
    assert "ImagePositionPatient (0020,0032)" in message
    assert "series 2.25." in message
    return message


def test_a_slice_too_few_is_refused(make_series, volumes_dhw):
    files = make_series(volumes_dhw, modality="MR", overrides=overrides_of({}))
    assert "11 slices at 4 positions, 2 at one and 3 at another" in refused(files[:5] + files[6:])


def test_a_slice_too_many_is_refused(make_series, volumes_dhw, edit_file):
    files = make_series(volumes_dhw, modality="MR", overrides=overrides_of({}))
    edit_file(files[-1], lambda dataset: setattr(dataset, "ImagePositionPatient", [0, 0, 4]))
    assert "slices at 4 positions, " in refused(files)


def test_volumes_that_nothing_tells_apart_are_refused(make_series, volumes_dhw):
    alike = overrides_of({"InstanceNumber": lambda _volume, z: z + 1})
    assert "some attribute must distinguish the volumes, no attribute does" in refused(
        make_series(volumes_dhw, modality="MR", overrides=alike)
    )


def test_an_order_that_would_mix_echoes_is_refused(make_series, volumes_dhw):
    """Two echoes, of which one came first at some positions and last at others, beside a third image."""
    echoes = overrides_of({"EchoTime": lambda volume, z: str(5 + 5 * ((volume + z) % 3 > 1))})
    assert "by their order EchoTime (0018,0081) would differ within a volume" in refused(
        make_series(volumes_dhw, modality="MR", overrides=echoes)
    )


def test_echo_times_that_drift_from_slice_to_slice_are_refused(make_series, volumes_dhw):
    drifting = overrides_of({"EchoTime": lambda volume, z: str(5 * (volume + 1) + z / 10)})
    assert "by their order EchoTime (0018,0081) would differ within a volume" in refused(
        make_series(volumes_dhw, modality="MR", overrides=drifting)
    )


def test_slices_side_by_side_are_refused(make_series, volumes_dhw):
    aside = overrides_of({"ImagePositionPatient": lambda volume, z: [100 * volume, 0, z]})
    assert "they are up to 200 mm apart in their plane" in refused(
        make_series(volumes_dhw, modality="MR", overrides=aside)
    )


def test_one_position_only_is_refused(make_series, volumes_dhw):
    here = overrides_of({"ImagePositionPatient": lambda _volume, _z: [0, 0, 0]})
    assert "a single slice (1 slice)" in refused(make_series(volumes_dhw, modality="MR", overrides=here))


def test_a_copy_under_another_uid_is_refused(make_series, volumes_dhw, edit_file):
    """All slices twice: nothing says that these are two volumes."""
    files = make_series(volumes_dhw[:4], modality="MR")
    again = make_series(volumes_dhw[:4], modality="MR", folder="again")
    for file in again:
        edit_file(file, lambda dataset: setattr(dataset, "SOPInstanceUID", generate_uid()))
    assert "no attribute does" in refused([*files, *again])
