# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The map against what was removed, a validator, and another reader."""

from __future__ import annotations

from datetime import datetime, timezone

import highdicom
import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.removed_map import removed_map
from nsn2n.dicom.write.series_writer import write_series

SERIES = DerivedSeries("2.25.77", 1002, datetime.now(timezone.utc))
UNITS = {"CT": "[hnsf'U]", "MR": "1", "PT": "Bq/ml"}


@pytest.mark.filterwarnings("error::UserWarning:nsn2n")
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_holds_source_minus_derived_where_they_lie(
    make_series, tmp_path, derivation, noise_dhw, dciodvfy_messages, modality
):
    source = read_series(make_series(noise_dhw + 900, modality=modality, spacing_mm=(2.0, 0.5, 0.75)))
    written = write_series(np.rint(source.stack.values * 0.9), source.files, tmp_path / "out", derivation)

    removed_map(source.files, written.files, SERIES, "1.0").save_as(tmp_path / "map.dcm")

    image = highdicom.imread(tmp_path / "map.dcm")
    volume = image.get_volume(apply_real_world_transform=True, dtype=np.float32)
    before, after = (
        highdicom.get_volume_from_series([pydicom.dcmread(file) for file in files], apply_presentation_lut=False)
        for files in (source.files, written.files)
    )
    np.testing.assert_allclose(volume.array, before.array - after.array, atol=1e-3)
    np.testing.assert_allclose(volume.spacing, (2.0, 0.5, 0.75))
    np.testing.assert_allclose(volume.affine, before.affine, atol=1e-6)
    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    referenced = {item.SeriesInstanceUID for item in dataset.ReferencedSeriesSequence}
    assert referenced == {source.SeriesInstanceUID, written.SeriesInstanceUID}
    shared = dataset.SharedFunctionalGroupsSequence[0]
    mapping = shared.RealWorldValueMappingSequence[0]
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == UNITS[modality]
    assert dataset.ContentQualification == "RESEARCH"
    assert dataset.SeriesNumber == 1002
    messages = dciodvfy_messages([tmp_path / "map.dcm"])
    assert not [line for line in messages if line.startswith("Error")]


def _grid_per_frame(image):
    """As some scanners store it."""
    (shared,) = image.SharedFunctionalGroupsSequence
    for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence"):
        for frame in image.PerFrameFunctionalGroupsSequence:
            frame[keyword] = shared[keyword]
        del shared[keyword]


@pytest.mark.parametrize("edit", [None, _grid_per_frame])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_frames_of_a_multi_frame_source_lie_where_they_were(
    make_enhanced, tmp_path, derivation, noise_dhw, dciodvfy_messages, modality, edit
):
    # From the last slice to the first: the frames are not in the order of the volume.
    upside_down = {"ImagePositionPatient": lambda index: [0, 0, -2.0 * index]}
    file = make_enhanced(
        noise_dhw + 900, modality=modality, spacing_mm=(2.0, 0.5, 0.75), overrides=upside_down, edit=edit
    )
    source = read_series([file])
    written = write_series(np.rint(source.stack.values * 0.9), source.files, tmp_path / "out", derivation)

    removed_map(source.files, written.files, SERIES, "1.0").save_as(tmp_path / "map.dcm")

    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    values = highdicom.imread(tmp_path / "map.dcm").get_frames(apply_real_world_transform=True, dtype=np.float32)
    derived = read_series(written.files, allow_own_output=True)
    removed = source.stack.values - derived.stack.values
    heights = sorted(-2.0 * index for index in range(len(removed)))
    frames = dataset.PerFrameFunctionalGroupsSequence
    assert len(frames) == len(removed) == len(heights)
    for frame, found_hw in zip(frames, values, strict=True):
        height = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
        np.testing.assert_allclose(found_hw, removed[heights.index(height)], atol=1e-3)
        images = frame.DerivationImageSequence[0].SourceImageSequence
        assert images[0].ReferencedSOPInstanceUID == pydicom.dcmread(file).SOPInstanceUID
        assert images[0].ReferencedFrameNumber == 1 + int(-height / 2)
    measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert list(measures.PixelSpacing) == [0.5, 0.75]
    messages = dciodvfy_messages([tmp_path / "map.dcm"])
    assert not [line for line in messages if line.startswith("Error")]


def test_nothing_removed(make_series, tmp_path, derivation):
    source = read_series(make_series())
    written = write_series(source.stack.values, source.files, tmp_path / "out", derivation)

    made = removed_map(source.files, written.files, SERIES, "1.0")

    assert not np.frombuffer(made.FloatPixelData, np.float32).any()
