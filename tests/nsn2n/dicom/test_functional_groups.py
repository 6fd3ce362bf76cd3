# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Enhanced multi-frame images as they are read: order, values and places of frames, and what is refused."""

from __future__ import annotations

import logging

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from nsn2n.dicom.functional_groups import PER_FRAME, SHARED, flat_frames, frame_label
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError
from tests.nsn2n.dicom.enhanced import enhance, item


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("orientation", [(1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1)], ids=["axial", "sagittal"])
def test_frames_are_read_as_single_frame_slices_are(make_series, make_enhanced, noise_dhw, modality, orientation):
    options = {"modality": modality, "orientation": orientation, "spacing_mm": (2.0, 0.4, 0.8)}
    expected = read_series(make_series(np.abs(noise_dhw), **options))
    file = make_enhanced(np.abs(noise_dhw), **options)
    series = read_series([file])
    np.testing.assert_array_equal(series.stack.values, expected.stack.values)
    assert series.geometry == expected.geometry
    assert series.files == (file,) * 5
    assert series.stack.modality == modality


def test_highdicom_reads_the_same_volume(make_enhanced, noise_dhw):
    """The oracle, as far as it goes: regular stacks of one volume."""
    file = make_enhanced(spacing_mm=(2.0, 0.4, 0.8), origin_mm=(-10.0, 20.0, 30.0))
    series = read_series([file])
    oracle = highdicom.imread(file).get_volume(apply_modality_transform=True)
    step = 1 if oracle.affine[2, 0] > 0 else -1
    np.testing.assert_array_equal(series.stack.values, oracle.array[::step])
    np.testing.assert_allclose(series.geometry.parts[0].spacing_mm, oracle.spacing)


def test_frames_are_sorted_by_position_not_by_number(make_enhanced, noise_dhw):
    order = [3, 0, 4, 2, 1]

    def shuffle(index, frame):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, order[index]]

    series = read_series([make_enhanced(noise_dhw[order], edit_frame=shuffle)])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)


def test_each_frame_has_its_own_values(make_enhanced, noise_dhw):
    slopes = [1.27985, 0.2442, 3.0, 1.0, 0.5]

    def rescale(index, frame):
        frame.PixelValueTransformationSequence[0].RescaleSlope = str(slopes[index])

    stored = noise_dhw + 1024
    series = read_series([make_enhanced(edit_frame=rescale)])
    np.testing.assert_allclose(series.stack.values, stored * np.array(slopes)[:, None, None] - 1024, rtol=1e-6)


def test_macros_may_be_shared_or_per_frame(make_enhanced, noise_dhw):
    def turn_round(image):
        shared, frames = image[SHARED][0], image[PER_FRAME].value
        for keyword in ("PixelMeasuresSequence", "PlaneOrientationSequence", "CTImageFrameTypeSequence"):
            for frame in frames:
                setattr(frame, keyword, shared[keyword].value)
            del shared[keyword]
        shared.PixelValueTransformationSequence = frames[0].PixelValueTransformationSequence
        for frame in frames:
            del frame.PixelValueTransformationSequence

    np.testing.assert_array_equal(read_series([make_enhanced(edit=turn_round)]).stack.values, noise_dhw)


def test_several_instances_make_one_series(make_enhanced, noise_dhw):
    """A stack in two images, such as an archive may cut it."""
    lower = make_enhanced(noise_dhw[:2])
    upper = make_enhanced(noise_dhw[2:], origin_mm=(0, 0, 2.0), edit=lambda image: setattr(
        image, "SOPInstanceUID", "2.25.5"))  # fmt: skip
    series = read_series([upper, lower])
    np.testing.assert_array_equal(series.stack.values, noise_dhw)
    assert series.files == (lower,) * 2 + (upper,) * 3


@pytest.mark.parametrize("keyword", ["TemporalPositionIndex", "EffectiveEchoTime", "DiffusionBValue"])
def test_frames_of_several_volumes_are_split(make_enhanced, noise_dhw, caplog, keyword):
    caplog.set_level(logging.INFO)
    volume_dhw = np.abs(np.concatenate([noise_dhw, noise_dhw[::-1] + 5]))

    def place(index, frame):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, index % 5]
        if keyword == "TemporalPositionIndex":
            frame.FrameContentSequence[0].TemporalPositionIndex = index // 5 + 1
        elif keyword == "EffectiveEchoTime":
            frame.MREchoSequence = [item(EffectiveEchoTime=5.0 + index // 5)]
        else:
            frame.MRDiffusionSequence = [item(DiffusionBValue=800.0 * (index // 5))]

    series = read_series([make_enhanced(volume_dhw, modality="MR", edit_frame=place)])
    np.testing.assert_array_equal(series.stack.values, volume_dhw)
    assert series.stack.parts == (5, 5)
    assert f"2 volumes of 5 slices, by {keyword}" in caplog.text


def test_a_gap_names_frames(make_enhanced, noise_dhw):
    def move(index, frame):
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, index + 2 * (index > 2)]

    (warning,) = read_series([make_enhanced(edit_frame=move)]).warnings
    assert "between image.dcm frame 3 and image.dcm frame 4" in warning


def test_the_rules_of_the_bundle_take_it(make_enhanced):
    for modality in ("CT", "MR", "PT"):
        folder = make_enhanced(modality=modality, seed=modality).parent
        selection = select_series(scan_folder(folder), default_rules())
        assert len(selection.selected) == 1, selection.left_alone


def test_a_scanned_series_as_one_enhanced_image(ct_phantom_folder, tmp_path, derivation):
    (record,) = scan_folder(ct_phantom_folder / "S2020").series
    file = enhance(record.files, tmp_path / "in" / "image.dcm")
    expected, series = read_series(record.files), read_series([file])
    np.testing.assert_array_equal(series.stack.values, expected.stack.values)
    assert series.geometry == expected.geometry
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert pydicom.dcmread(written.files[0]).PixelData == pydicom.dcmread(file).PixelData


def frame_edit(change):
    """Change the third frame."""
    return {"edit_frame": lambda index, frame: change(frame) if index == 2 else None}


REFUSED = {
    "no groups": ({"edit": lambda image: delattr(image, PER_FRAME)}, r"PerFrameFunctionalGroupsSequence .*got 0 items"),
    "too few groups": (
        {"edit": lambda image: image[PER_FRAME].value.pop()},
        r"PerFrameFunctionalGroupsSequence \(5200,9230\) must describe each of the 5 frames .*; got 4 items",
    ),
    "no number": ({"edit": lambda image: delattr(image, "NumberOfFrames")}, r"NumberOfFrames \(0028,0008\) must hold"),
    "concatenation": (
        {"edit": lambda image: setattr(image, "ConcatenationUID", "2.25.1")},
        r"ConcatenationUID \(0020,9161\) must be absent",
    ),
    "no position": (
        frame_edit(lambda frame: delattr(frame, "PlanePositionSequence")),
        r"PlanePositionSequence \(0020,9113\) must have one item for each frame; got 0 \[.*image\.dcm frame 3",
    ),
    "two positions": (
        frame_edit(lambda frame: frame.PlanePositionSequence.append(frame.PlanePositionSequence[0])),
        r"PlanePositionSequence .* got 2 \[.*frame 3",
    ),
    "empty position": (
        frame_edit(lambda frame: setattr(frame.PlanePositionSequence[0], "ImagePositionPatient", None)),
        r"ImagePositionPatient \(0020,0032\) must hold 3 finite numbers; got no value \[.*frame 3",
    ),
    "other orientation": (
        frame_edit(lambda frame: setattr(frame, "PlaneOrientationSequence", [
            item(ImageOrientationPatient=[0.99897, 0.04536, 0, -0.04536, 0.99897, 0])])),
        r"more than one orientation \(up to 2\.6 degrees apart\) \[.*frame 3",
    ),
    "slope 0": (
        frame_edit(lambda frame: setattr(frame.PixelValueTransformationSequence[0], "RescaleSlope", 0)),
        r"RescaleSlope \(0028,1053\) must not be 0 .* frame 3",
    ),
    "no slope": (
        frame_edit(lambda frame: delattr(frame, "PixelValueTransformationSequence")),
        r"RescaleSlope .* no such attribute \[.*frame 3",
    ),
    "one frame of phase": (
        frame_edit(lambda frame: setattr(frame, "CTImageFrameTypeSequence", [
            item(FrameType=["ORIGINAL", "PRIMARY", "PHASE", "NONE"])])),
        r"FrameType \(0008,9007\) .* has PHASE: a phase image \[.*frame 3",
    ),
    "perfusion": (
        {"edit": lambda image: setattr(image, "ImageType", ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"])},
        r"ImageType .* has PERFUSION",
    ),
    "color": ({"edit": lambda image: setattr(image, "PixelPresentation", "COLOR")}, r"PixelPresentation .* is COLOR"),
    "projection": (
        {"edit": lambda image: setattr(image, "VolumeBasedCalculationTechnique", "MAX_IP")},
        r"VolumeBasedCalculationTechnique .* is MAX_IP, not NONE",
    ),
    "too few pixels": (
        {"edit": lambda image: setattr(image, "PixelData", image.PixelData[:-96])},
        r"PixelData \(7FE0,0010\) must hold 5 frames of 6 x 8 pixels, 480 bytes uncompressed; got 384 bytes",
    ),
    "too many pixels": (
        {"edit": lambda image: setattr(image, "PixelData", image.PixelData + bytes(96))},
        r"480 bytes uncompressed; got 576 bytes",
    ),
    "no pixels": ({"edit": lambda image: delattr(image, "PixelData")}, r"PixelData \(7FE0,0010\) must be present"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_a_broken_image_is_refused_in_one_line(make_enhanced, name):
    edits, message = REFUSED[name]
    with pytest.raises(DicomError, match=message) as caught:
        read_series([make_enhanced(**edits)])
    assert "\n" not in str(caught.value)
    assert "image.dcm" in str(caught.value)


def test_phase_frames_beside_magnitude_are_refused(make_enhanced, noise_dhw):
    def mixed(image):
        image.ComplexImageComponent = "MIXED"
        image[SHARED][0].MRImageFrameTypeSequence[0].ComplexImageComponent = "MAGNITUDE"
        image[PER_FRAME][4].MRImageFrameTypeSequence = [
            item(FrameType=["ORIGINAL", "PRIMARY", "T1", "NONE"], ComplexImageComponent="PHASE")
        ]

    with pytest.raises(DicomError, match=r"ComplexImageComponent .* is PHASE, not MAGNITUDE \[.*frame 5"):
        read_series([make_enhanced(np.abs(noise_dhw), modality="MR", edit=mixed)])


def test_a_header_is_that_of_image_and_frame(make_enhanced):
    file = make_enhanced()
    header = pydicom.dcmread(file, stop_before_pixels=True)
    frames = flat_frames(header, file)
    assert [tuple(frame.ImagePositionPatient) for frame in frames] == [(0, 0, index) for index in range(5)]
    assert {frame.SOPInstanceUID for frame in frames} == {header.SOPInstanceUID}
    assert all(frame.FrameType == ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"] for frame in frames)
    assert not any(keyword in frames[0] for keyword in (SHARED, PER_FRAME, "NumberOfFrames"))
    assert PER_FRAME in header
    assert frame_label(file, 0).name == "image.dcm frame 1"


def test_shared_groups_may_be_missing(make_enhanced, noise_dhw):
    def everything_per_frame(image):
        for frame in image[PER_FRAME].value:
            for element in image[SHARED][0]:
                frame.setdefault(element.tag, element)
        del image[SHARED]

    np.testing.assert_array_equal(read_series([make_enhanced(edit=everything_per_frame)]).stack.values, noise_dhw)
    empty = make_enhanced(edit=lambda image: setattr(image, SHARED, Sequence([Dataset()])))
    with pytest.raises(DicomError, match=r"PixelMeasuresSequence .* got 0"):
        read_series([empty])
