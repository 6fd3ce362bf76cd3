# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The map against the record, a validator, and another reader."""

from __future__ import annotations

from datetime import datetime, timezone

import highdicom
import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.kept_map import UNKNOWN, kept_map
from nsn2n.dicom.write.series_writer import write_series

SERIES = DerivedSeries("2.25.79", 1004, datetime.now(timezone.utc))


@pytest.mark.filterwarnings("error::UserWarning:nsn2n")
@pytest.mark.parametrize("multiframe", [False, True])
@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_each_part_is_a_frame_at_its_slice(
    make_series, make_enhanced, tmp_path, derivation, dciodvfy_messages, modality, multiframe
):
    source = read_series([make_enhanced(modality=modality)] if multiframe else make_series(modality=modality))
    written = write_series(source.stack.values, source.files, tmp_path / "out", derivation)
    _, height, width = source.stack.shape_dhw
    rows, columns = -(-height // 4), -(-width // 4)
    first = [[0.5] * columns for _ in range(rows)]
    first[0][0] = None
    maps = [
        {"slice": 1, "block_px": 4, "kept": first},
        {"slice": 3, "block_px": 4, "kept": [[0.75] * columns for _ in range(rows)]},
    ]

    record = {"contrast_kept": {"discs": [], "maps": maps}}
    kept_map(source.files, written.files, record, SERIES, "1.0").save_as(tmp_path / "map.dcm")

    dataset = pydicom.dcmread(tmp_path / "map.dcm")
    values = highdicom.imread(tmp_path / "map.dcm").get_frames(apply_real_world_transform=True, dtype=np.float32)
    at = {
        _position(frame.PlanePositionSequence[0]): frame_hw
        for frame, frame_hw in zip(dataset.PerFrameFunctionalGroupsSequence, values, strict=True)
    }
    one, other = (at.pop((0.0, 0.0, float(index))) for index in (1, 3))
    assert not at
    assert one.shape == other.shape == (height, width)
    assert (one[:4, :4] == UNKNOWN).all()
    assert (one[4:] == 0.5).all()
    assert (other == 0.75).all()
    assert dataset.FloatPixelPaddingValue == UNKNOWN
    messages = dciodvfy_messages([tmp_path / "map.dcm"])
    assert not [line for line in messages if line.startswith("Error")]


def _position(dataset):
    return tuple(float(step) for step in dataset.ImagePositionPatient)
