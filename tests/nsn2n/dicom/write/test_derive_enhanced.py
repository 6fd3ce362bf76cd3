# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Derived enhanced images against their sources, the validator, and another reader."""

from __future__ import annotations

import re
import subprocess
from collections import Counter

import highdicom
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSNearLossless

from nsn2n.dicom.functional_groups import PER_FRAME, SHARED
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from tests.nsn2n.dicom.enhanced import item

POSITIVE = np.abs(np.random.default_rng(7).integers(0, 2900, size=(5, 6, 8))).astype(float)


@pytest.fixture
def derive(tmp_path, derivation):
    """Write a series with a change of its values; give the source and the derived dataset."""

    def run(file, change=lambda volume_dhw: volume_dhw):
        series = read_series([file])
        written = write_series(change(series.stack.values), series.files, tmp_path / "out", derivation)
        assert len(written.files) == 1
        return pydicom.dcmread(file), pydicom.dcmread(written.files[0])

    return run


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
@pytest.mark.parametrize("order", [[0, 1, 2, 3, 4], [3, 0, 4, 2, 1]])
def test_identity_keeps_every_frame_in_its_place(make_enhanced, derive, modality, order):
    def place(index, frame):
        frame.PlanePositionSequence[0].ImagePositionPatient = [1, 2, order[index]]

    source, target = derive(make_enhanced(POSITIVE, modality=modality, edit_frame=place))
    assert target.PixelData == source.PixelData
    assert target.file_meta.TransferSyntaxUID.is_little_endian
    for there, here in zip(source[PER_FRAME], target[PER_FRAME], strict=True):
        for keyword in ("PlanePositionSequence", "PixelValueTransformationSequence", "FrameContentSequence"):
            assert here[keyword] == there[keyword]


def test_identity_and_sources_are_reported(make_enhanced, derive, derivation):
    source, target = derive(make_enhanced(POSITIVE, modality="MR"))
    assert target.SOPClassUID == source.SOPClassUID
    assert target.SOPInstanceUID != source.SOPInstanceUID
    assert target.SeriesInstanceUID != source.SeriesInstanceUID
    assert target.SeriesNumber == source.SeriesNumber + 1000
    assert list(target.ImageType) == ["DERIVED", "PRIMARY", "T1", "NONE"]
    assert list(target[SHARED][0].MRImageFrameTypeSequence[0].FrameType) == ["DERIVED", "PRIMARY", "T1", "NONE"]
    assert target.ContentQualification == "RESEARCH"
    assert (target.Manufacturer, target.ManufacturerModelName) == ("The nsn2n authors", "nsn2n")
    assert target.DeviceSerialNumber
    assert target.ContributingEquipmentSequence[-1].DeviceSerialNumber == source.DeviceSerialNumber
    (evidence,) = target.SourceImageEvidenceSequence
    assert evidence.StudyInstanceUID == source.StudyInstanceUID
    assert evidence.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    (image,) = evidence.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert image.ReferencedSOPInstanceUID == source.SOPInstanceUID
    for index, frame in enumerate(target[PER_FRAME]):
        (derived,) = frame.DerivationImageSequence
        assert derived.DerivationDescription == derivation.description
        assert derived.DerivationCodeSequence[0].CodeValue == "113087"
        (reference,) = derived.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedFrameNumber == index + 1
    assert target.DimensionIndexSequence == source.DimensionIndexSequence


def test_frame_type_is_derived_wherever_it_stands(make_enhanced, derive):
    def own_type(index, frame):
        frame.CTImageFrameTypeSequence = [item(FrameType=["ORIGINAL", "PRIMARY", "AXIAL", "NONE"])]

    _, target = derive(make_enhanced(edit_frame=own_type))
    groups = [*target[SHARED], *target[PER_FRAME]]
    assert {group.CTImageFrameTypeSequence[0].FrameType[0] for group in groups} == {"DERIVED"}
    assert {group.CTImageFrameTypeSequence[0].FrameType[2] for group in target[PER_FRAME]} == {"AXIAL"}


def test_an_earlier_derivation_is_replaced(make_enhanced, derive):
    def derived_before(image):
        image[SHARED][0].DerivationImageSequence = [item(DerivationDescription="of another image")]

    _, target = derive(make_enhanced(edit=derived_before))
    assert "DerivationImageSequence" not in target[SHARED][0]
    assert "of another image" not in str(target)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_validators_have_nothing_new_to_say(make_enhanced, derive, dciodvfy_messages, find_program, tmp_path, modality):
    file = make_enhanced(POSITIVE, modality=modality)
    derive(file, lambda volume_dhw: volume_dhw * 0.9)
    written = list((tmp_path / "out").rglob("*.dcm"))
    before, after = dciodvfy_messages([file]), dciodvfy_messages(written)
    assert not [line for line in before if line.startswith("Error")]
    # PS3.3 C.8.13.4: "may be present otherwise"; this version of the validator denies it to derived images.
    denied = r"Attribute present when condition unsatisfied .* Module=<MRPulseSequence>"
    added = Counter(line for line in (after - before).elements() if not re.search(denied, line))
    assert not [line for line in added if line.startswith("Error")], added
    entities = subprocess.run(
        [find_program("dcentvfy"), str(file), *map(str, written)], capture_output=True, text=True, check=False
    )
    assert (entities.returncode, entities.stdout, entities.stderr) == (0, "", "")


def test_another_reader_finds_the_same_volume(make_enhanced, derive, tmp_path):
    derive(make_enhanced(spacing_mm=(2.0, 0.4, 0.8)), lambda volume_dhw: volume_dhw + 3)
    (file,) = (tmp_path / "out").rglob("*.dcm")
    oracle = highdicom.imread(file).get_volume(apply_modality_transform=True)
    series = read_series([file], allow_own_output=True)
    step = 1 if oracle.affine[2, 0] > 0 else -1
    np.testing.assert_array_equal(series.stack.values, oracle.array[::step])


def test_private_attributes_go_but_those_that_dimensions_point_at(make_enhanced, derive):
    pointer, group = Tag(0x2005, 0x106E), Tag(0x2005, 0x140F)

    def private(image):
        image.private_block(0x0029, "SOMEONE", create=True).add_new(1, "LO", "secret")
        image.DimensionIndexSequence[0].DimensionIndexPointer = pointer
        image.DimensionIndexSequence[0].FunctionalGroupPointer = group
        for frame in image[PER_FRAME]:
            inner = item()
            block = inner.private_block(0x2005, "Philips MR Imaging DD 001", create=True)
            block.add_new(0x6E, "SL", 1)
            block.add_new(0x11, "CS", "M")
            frame.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
            frame.add_new(Tag(0x2005, 0x0014), "LO", "Philips MR Imaging DD 005")
            frame.add_new(group, "SQ", [inner])

    _, target = derive(make_enhanced(edit=private))
    assert "secret" not in str(target)
    for frame in target[PER_FRAME]:
        assert frame[group].value[0][pointer].value == 1
        assert frame[Tag(0x2005, 0x0014)].value == "Philips MR Imaging DD 005"
        assert Tag(0x2005, 0x1011) not in frame[group].value[0]


@pytest.mark.parametrize("shared", [False, True])
def test_frames_of_pet_that_outgrow_their_slope_get_one_of_their_own(make_enhanced, derive, shared, tmp_path):
    def share(image):
        if shared:
            transformation = image[PER_FRAME][0].PixelValueTransformationSequence
            transformation[0].RescaleSlope = "0.1"
            image[SHARED][0].PixelValueTransformationSequence = transformation
            for frame in image[PER_FRAME]:
                del frame.PixelValueTransformationSequence

    def brighten(volume_dhw):
        changed = volume_dhw.copy()
        changed[2] += 40000
        return changed

    file = make_enhanced(POSITIVE, modality="PT", edit=share)
    wanted_dhw = brighten(read_series([file]).stack.values)
    _, target = derive(file, brighten)
    (written,) = (tmp_path / "out").rglob("*.dcm")
    result_dhw = read_series([written], allow_own_output=True).stack.values
    np.testing.assert_allclose(result_dhw, wanted_dhw, atol=1.5)
    np.testing.assert_array_equal(result_dhw[[0, 1, 3, 4]], wanted_dhw[[0, 1, 3, 4]])
    slopes = [frame.PixelValueTransformationSequence[0].RescaleSlope for frame in target[PER_FRAME]]
    assert slopes[2] == pytest.approx(wanted_dhw[2].max() / 32767, rel=1e-6)
    assert "PixelValueTransformationSequence" not in target[SHARED][0]


def test_padding_and_extremes(make_enhanced, derive):
    def mark(image):
        image.PixelPaddingValue = 7
        image.SmallestImagePixelValue, image.LargestImagePixelValue = 0, 1

    volume_dhw = POSITIVE.copy()
    volume_dhw[:, 0] = 7 - 1024
    source, target = derive(make_enhanced(volume_dhw, edit=mark), lambda values: values + 1)
    before = np.frombuffer(source.PixelData, "<u2").reshape(5, 6, 8)
    after = np.frombuffer(target.PixelData, "<u2").reshape(5, 6, 8)
    assert (after[:, 0] == 7).all()
    np.testing.assert_array_equal(after[:, 1:], before[:, 1:] + 1)
    assert (target.SmallestImagePixelValue, target.LargestImagePixelValue) == (after.min(), after.max())


def test_loss_is_never_denied(make_enhanced, derive):
    smooth = np.add.outer(np.arange(5), np.add.outer(np.arange(40), np.arange(50))).astype(float)
    file = make_enhanced(smooth)
    image = pydicom.dcmread(file)
    image.compress(JPEGLSNearLossless, jls_error=2, generate_instance_uid=False)
    image.save_as(file)
    encoded = sum(map(len, generate_frames(image.PixelData, number_of_frames=5)))
    _, target = derive(file)
    assert target.LossyImageCompression == "01"
    assert target.LossyImageCompressionMethod == "ISO_14495_1"
    assert float(target.LossyImageCompressionRatio) == pytest.approx(smooth.size * 2 / encoded, rel=1e-3)
    assert target.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


def test_several_instances_stay_several(make_enhanced, tmp_path, derivation):
    lower = make_enhanced(POSITIVE[:2])
    upper = make_enhanced(POSITIVE[2:], origin_mm=(0, 0, 2.0), edit=lambda image: setattr(
        image, "SOPInstanceUID", "2.25.5"))  # fmt: skip
    series = read_series([upper, lower])
    written = write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert [pydicom.dcmread(file).NumberOfFrames for file in written.files] == [2, 3]
    for source, target in zip((lower, upper), written.files, strict=True):
        assert pydicom.dcmread(target).PixelData == pydicom.dcmread(source).PixelData
    (record,) = scan_folder(tmp_path / "out").series
    assert len(record.files) == 2
