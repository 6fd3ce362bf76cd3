# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.jobs.companions import write_companions
from nsn2n.jobs.options import JobOptions

RECORD = {
    "measured": {"noise_sd_median": 20.5, "rms_change": 19.25},
    "structure": {
        "verdict": "pass", "edges": None, "detail": 0.06, "contrast": None,
        "excess": 3.5, "coherence": 0.75, "findings": [],
    },
    "contrast_kept": None,
}  # fmt: skip
KEPT = {"discs": [], "maps": [{"slice": 2, "block_px": 16, "kept": [[0.5] * 100] * 100}]}
BOTH = JobOptions(parametric_map=True, structured_report=True)


@pytest.fixture
def written(make_series, tmp_path, derivation):
    series = read_series(make_series())
    return series, write_series(series.stack.values + 1, series.files, tmp_path / "out", derivation)


def test_each_is_a_series_of_the_study_with_a_number_of_its_own(written, tmp_path):
    source, derived = written

    companions = write_companions(tmp_path / "out", derived, source.files, RECORD, BOTH, {1002})

    assert [companion.SeriesNumber for companion in companions] == [1003, 1004]
    assert [companion.files[0].name for companion in companions] == ["PM0001.dcm", "SR0001.dcm"]
    records = scan_folder(tmp_path / "out").series
    assert {record.StudyInstanceUID for record in records} == {source.StudyInstanceUID}
    assert sorted(record.SeriesNumber for record in records) == [1001, 1003, 1004]
    for companion in companions:
        header = pydicom.dcmread(companion.files[0])
        assert header.PatientID == source.headers[0].PatientID
        assert header.SeriesInstanceUID == companion.folder.name == companion.SeriesInstanceUID
    assert not list((tmp_path / "out").glob(".*"))


def test_what_is_kept_of_faint_discs_is_a_map_of_its_own(written, tmp_path):
    source, derived = written
    record = {**RECORD, "contrast_kept": KEPT}

    companions = write_companions(tmp_path / "out", derived, source.files, record, BOTH)

    assert [companion.files[0].name for companion in companions] == ["PM0001.dcm", "PM0002.dcm", "SR0001.dcm"]


def test_a_multi_frame_source_has_maps_too(make_enhanced, derivation, tmp_path):
    source = read_series([make_enhanced()])
    derived = write_series(source.stack.values + 1, source.files, tmp_path / "out", derivation)
    record = {**RECORD, "contrast_kept": KEPT}

    companions = write_companions(tmp_path / "out", derived, source.files, record, BOTH)

    assert [companion.files[0].name for companion in companions] == ["PM0001.dcm", "PM0002.dcm", "SR0001.dcm"]


def test_nothing_unless_asked_for(written, tmp_path):
    source, derived = written
    assert write_companions(tmp_path / "out", derived, source.files, RECORD, JobOptions()) == ()
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_folder_that_cannot_be_written(written, tmp_path, bound_by_permissions, caplog):
    source, derived = written
    (tmp_path / "out").chmod(0o555)
    with bound_by_permissions():
        assert write_companions(tmp_path / "out", derived, source.files, RECORD, BOTH) == ()

    assert caplog.text.count(f"got Permission denied at {tmp_path / 'out'}. Free some space and run again.") == 2
    for name in ("PM0001.dcm", "SR0001.dcm"):
        assert f"The denoised series is complete; {name} was not written." in caplog.text
    assert list((tmp_path / "out").iterdir()) == [derived.folder]


def test_source_with_attributes_that_are_not_valid(make_series, tmp_path, derivation, patch_bytes, caplog):
    files = make_series(overrides={"PatientBirthDate": "19700102"})
    for file in files:
        patch_bytes(file, b"19700102", b"SECRET**")
    source = read_series(files)
    derived = write_series(source.stack.values, source.files, tmp_path / "out", derivation)

    companions = write_companions(tmp_path / "out", derived, source.files, RECORD, JobOptions(parametric_map=True))

    assert companions == ()
    assert "the source must have valid attributes for PM0001.dcm" in caplog.text
    assert "SECRET" not in caplog.text
    assert list((tmp_path / "out").iterdir()) == [derived.folder]


@pytest.mark.parametrize("uid", [None, ""])
def test_a_source_without_frame_of_reference_gets_a_report_and_no_map(make_series, tmp_path, derivation, caplog, uid):
    source = read_series(make_series(overrides={"FrameOfReferenceUID": uid}))
    derived = write_series(source.stack.values + 1, source.files, tmp_path / "out", derivation)

    companions = write_companions(tmp_path / "out", derived, source.files, RECORD, BOTH)

    assert [companion.files[0].name for companion in companions] == ["SR0001.dcm"]
    assert (
        "FrameOfReferenceUID (0020,0052) must have a value in the source of a parametric map; got none" in caplog.text
    )
    assert "The denoised series is complete; PM0001.dcm was not written." in caplog.text
