# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Wrong files are found before the series gets its name, and nothing of it is left."""

from __future__ import annotations

import pytest
from pydicom.uid import generate_uid

import nsn2n.dicom.write.series_writer as writer_module
from nsn2n.dicom.functional_groups import PER_FRAME, SHARED
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import DicomError


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda target: setattr(target, "ImagePositionPatient", [0, 0, 99]), "ImagePositionPatient"),
        (lambda target: setattr(target, "PatientID", "OTHER"), "PatientID"),
        (lambda target: setattr(target, "ImageType", ["ORIGINAL", "PRIMARY", "AXIAL"]), "ImageType"),
        (lambda target: setattr(target, "PixelData", bytes(len(target.PixelData))), "PixelData"),
    ],
)
def test_self_check_finds_a_wrong_file(make_series, tmp_path, derivation, monkeypatch, spoil, named):
    series = read_series(make_series())
    real = writer_module.derive_dataset

    def derive_wrong(*arguments):
        target = real(*arguments)
        spoil(target)
        return target

    monkeypatch.setattr(writer_module, "derive_dataset", derive_wrong)
    with pytest.raises(DicomError, match=rf"must agree with its source; {named} "):
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert list((tmp_path / "out").iterdir()) == []


def test_self_check_finds_a_series_with_one_uid_twice(make_series, tmp_path, derivation, monkeypatch):
    series = read_series(make_series())
    real = writer_module.derive_dataset

    def derive_into_another_series(*arguments):
        target = real(*arguments)
        if target.InstanceNumber == 3:
            target.SeriesInstanceUID = generate_uid()
        return target

    monkeypatch.setattr(writer_module, "derive_dataset", derive_into_another_series)
    with pytest.raises(DicomError, match=r"SeriesInstanceUID .* must be the same in all slices"):
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda target: setattr(target[PER_FRAME][2].PlanePositionSequence[0], "ImagePositionPatient", [0, 0, 2.01]),
         "ImagePositionPatient"),
        (lambda target: setattr(target[SHARED][0].CTImageFrameTypeSequence[0], "FrameType", ["ORIGINAL", "PRIMARY"]),
         "FrameType"),
        (lambda target: setattr(target[PER_FRAME][4].PixelValueTransformationSequence[0], "RescaleSlope", 2),
         "RescaleSlope"),
        (lambda target: setattr(target, "PixelData", target.PixelData[96:] + target.PixelData[:96]), "PixelData"),
        (lambda target: setattr(target, "ImageType", ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]), "ImageType"),
        (lambda target: setattr(target, "PatientID", "OTHER"), "PatientID"),
    ],
)  # fmt: skip
def test_a_wrong_enhanced_file_is_found(make_enhanced, tmp_path, derivation, monkeypatch, spoil, named):
    series = read_series([make_enhanced()])
    real = writer_module.derive_enhanced

    def derive_wrong(*arguments):
        target = real(*arguments)
        spoil(target)
        return target

    monkeypatch.setattr(writer_module, "derive_enhanced", derive_wrong)
    with pytest.raises(DicomError, match=rf"must agree with its source; .*{named} "):
        write_series(series.stack.values, series.files, tmp_path / "out", derivation)
    assert list((tmp_path / "out").iterdir()) == []
