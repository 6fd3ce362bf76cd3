# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.map_images import images_of_map
from nsn2n.errors import DicomError
from tests.nsn2n.dicom.enhanced import enhance


def test_values_come_in_the_order_of_the_headers(make_series, make_enhanced, noise_dhw):
    upside_down = {"ImagePositionPatient": lambda index: [0, 0, -index]}
    files = make_series(noise_dhw, overrides=upside_down)
    image = make_enhanced(noise_dhw, overrides=upside_down)

    singles, frames = images_of_map(read_series(files).files), images_of_map([image] * len(files))

    assert [len(images.headers) for images in (singles, frames)] == [len(files), 1]
    assert [facts.position_mm[2] for facts in frames.slices] == [facts.position_mm[2] for facts in singles.slices]
    np.testing.assert_array_equal(np.stack(list(singles.values())), noise_dhw[::-1])
    np.testing.assert_array_equal(np.stack(list(frames.values())), noise_dhw)


def test_what_all_frames_share_is_shared(make_enhanced):
    def apart(image):
        (shared,) = image.SharedFunctionalGroupsSequence
        for frame in image.PerFrameFunctionalGroupsSequence:
            frame.PixelMeasuresSequence = shared.PixelMeasuresSequence
        del shared.PixelMeasuresSequence

    file = make_enhanced(spacing_mm=(2.0, 0.5, 0.75), edit=apart)

    (header,) = images_of_map([file]).headers

    (shared,) = header.SharedFunctionalGroupsSequence
    assert list(shared.PixelMeasuresSequence[0].PixelSpacing) == [0.5, 0.75]
    assert "PixelMeasuresSequence" not in pydicom.dcmread(file).SharedFunctionalGroupsSequence[0]


def test_several_volumes_are_refused(make_series, noise_dhw):
    overrides = {
        "ImagePositionPatient": lambda index: [0, 0, index % 5],
        "TemporalPositionIdentifier": lambda index: index // 5 + 1,
    }
    files = make_series(np.concatenate([noise_dhw + 900] * 2), modality="MR", overrides=overrides)

    with pytest.raises(DicomError, match=r"must be one volume; got 10 slices at 5 positions.* Leave the map out\."):
        images_of_map(files)


def test_several_multi_frame_images_are_refused(make_series, tmp_path):
    images = []
    for number in (1, 2):
        files = make_series(folder=f"of{number}", origin_mm=(0, 0, 5 * number))

        def named(image, number=number):
            image.SOPInstanceUID = f"2.25.{number}"

        images.append(enhance(files, tmp_path / f"{number}.dcm", edit=named))

    with pytest.raises(DicomError, match="must be one multi-frame image, or single-frame images; got 2 multi-frame"):
        images_of_map(images)


def test_without_frame_of_reference_there_is_none(make_series):
    with pytest.raises(DicomError, match=r"FrameOfReferenceUID \(0020,0052\) must have a value in the source"):
        images_of_map(make_series(overrides={"FrameOfReferenceUID": None}))
