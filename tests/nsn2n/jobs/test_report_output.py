# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The report lies beside the series and holds nothing of the patient."""

from __future__ import annotations

import json
import re
from functools import partial

import jsonschema
import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.jobs.dicom_job import denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.report import report_schema

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}, "refit": {"steps": 3}}
run = partial(denoise, config=BRIEF, device="cpu")
PATIENT = {"PatientName": "Secretname^Jane", "PatientID": "SECRETID", "PatientBirthDate": "19701231",
           "AccessionNumber": "SECRETACC"}  # fmt: skip


@pytest.fixture
def study(make_series):
    volume = np.rint(np.random.default_rng(5).normal(140, 20, (5, 48, 40)))
    return make_series(volume, modality="MR", overrides=PATIENT)[0].parent


def test_report_of_each_series_beside_it(study, tmp_path):
    (outcome,) = denoise_folder(study, tmp_path / "out", denoise=run)

    written = outcome.written
    folder = tmp_path / "out" / "reports" / written.SeriesInstanceUID
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
    assert {path.suffix for path in written.folder.iterdir()} == {".dcm"}
    record = json.loads((folder / "report.json").read_text())
    assert record["source"]["SeriesInstanceUID"] == outcome.record.SeriesInstanceUID
    assert record["source"]["StudyInstanceUID"] == outcome.record.StudyInstanceUID
    assert record["derived"]["SeriesInstanceUID"] == written.SeriesInstanceUID
    assert record["derived"]["SeriesNumber"] == 1001
    assert record["measured"]["modality"] == "MR"
    for path in folder.iterdir():
        content = path.read_text(encoding="utf-8")
        for secret in ("Secretname", "SECRETID", "19701231", "SECRETACC"):
            assert secret not in content
        # The year of birth in any form of a date; UIDs and pictures are random digits and letters.
        text = re.sub(r"2\.25\.\d+|data:[^\"]*", "", content)
        assert not re.search(r"(?<!\d)1970(?!\d)", text)


def test_viewer_lies_beside_it_and_holds_nothing_of_the_patient(study, tmp_path):
    (outcome,) = denoise_folder(study, tmp_path / "out", JobOptions(viewer=True), denoise=run)

    folder = tmp_path / "out" / "reports" / outcome.written.SeriesInstanceUID
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.json", "viewer.html"}
    content = (folder / "viewer.html").read_text(encoding="utf-8")
    assert "<h1>MR series 1001</h1>" in content
    for secret in ("Secretname", "SECRETID", "19701231", "SECRETACC"):
        assert secret not in content


def test_no_viewer_of_text_in_the_pixels(study, tmp_path, edit_file, caplog):
    edit_file(max(study.iterdir()), lambda header: setattr(header, "BurnedInAnnotation", "YES"))

    (outcome,) = denoise_folder(study, tmp_path / "out", JobOptions(viewer=True), denoise=run)

    folder = tmp_path / "out" / "reports" / outcome.written.SeriesInstanceUID
    assert {path.name for path in folder.iterdir()} == {"report.html", "report.json"}
    assert "BurnedInAnnotation (0028,0301) is YES. No viewer.html is written" in caplog.text


def test_no_report_where_none_is_wanted(study, tmp_path):
    (outcome,) = denoise_folder(study, tmp_path / "out", JobOptions(report=False), denoise=run)

    assert list((tmp_path / "out").iterdir()) == [outcome.written.folder]


def test_report_that_cannot_be_written_is_a_warning(study, tmp_path, caplog):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reports").write_text("in the way")

    (outcome,) = denoise_folder(study, tmp_path / "out", denoise=run)

    assert outcome.error is None
    assert len(outcome.written.files) == 5
    assert "The denoised series is complete; its report was not written." in caplog.text


@pytest.mark.parametrize("value", ["YES", "NO", ""])
def test_no_picture_of_text_in_the_pixels_of_any_slice(study, tmp_path, edit_file, caplog, value):
    last = max(study.iterdir())
    edit_file(last, lambda header: setattr(header, "BurnedInAnnotation", value))

    (outcome,) = denoise_folder(study, tmp_path / "out", denoise=run)

    page = tmp_path / "out" / "reports" / outcome.written.SeriesInstanceUID / "report.html"
    record = json.loads(page.with_name("report.json").read_text())
    jsonschema.validate(record, report_schema(), jsonschema.Draft202012Validator)
    content = page.read_text(encoding="utf-8")
    burned_in = value == "YES"
    assert ("<img" in content, "data:image" in content) == (not burned_in, not burned_in)
    assert ("No pictures are shown" in content) == burned_in == (record["pictures_left_out"] is not None)
    assert (f"BurnedInAnnotation (0028,0301) is YES in 1 slices (first: {last})" in caplog.text) == burned_in
