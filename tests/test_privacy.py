# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""No word of a patient reaches a message, a report or the name of a file, whichever library says it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series

# No name of two parts, no date as DICOM has it, an identifier of two values: what libraries remark on, with the value.
PATIENT = {
    "PatientName": "Secretname",
    "PatientID": "SECRETID",
    "PatientBirthDate": "1970-12-31",
    "OtherPatientNames": "Secretother",
    "PatientAddress": "Secretstreet",
    "PatientMotherBirthName": "Secretmother",
    "PatientAge": "SECRETAGE",
    "ReferringPhysicianName": "Secretdoctor",
    "PatientComments": "Secretcomment",
}
WORDS = ("secret", "1970-12-31")

CONFIG = "{fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}}"


@pytest.fixture
def study(tmp_path):
    """A series that is denoised, one that is refused, and one whose header nobody can make sense of."""
    folder = tmp_path / "study"
    volume = np.random.default_rng(0).normal(40, 20, (5, 24, 20))
    common = {"study_uid": "2.25.77", "seed": "privacy", "overrides": PATIENT}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about the values
        write_synthetic_series(volume, folder, series_number=1, **common)
        write_synthetic_series(volume[:1], folder, series_number=2, **common)
        odd = {**PATIENT, "WindowCenter": "123456789012"}
        for file in write_synthetic_series(volume, folder, series_number=3, **{**common, "overrides": odd}):
            file.write_bytes(file.read_bytes().replace(b"123456789012", b"Secretwindow"))  # no number
    return folder


def _told(*command, **environment):
    result = subprocess.run(
        [sys.executable, "-m", *map(str, command)],
        env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert result.returncode in (0, 1, 3), result.stderr
    return result.stdout + result.stderr


def _assert_silent(text):
    assert not [line for line in text.splitlines() if any(word in line.lower() for word in WORDS)]


def _assert_no_word_outside_of_dicom(output):
    reports = [path for path in output.rglob("*") if path.is_file() and path.suffix != ".dcm"]
    assert reports
    for path in output.rglob("*"):
        assert not any(word in str(path).lower() for word in WORDS)
    for path in reports:
        _assert_silent(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("options", [[], ["--traceback"], ["--dry-run"]])
def test_the_command_line_tells_no_word_of_a_patient(study, tmp_path, options):
    (tmp_path / "config.yaml").write_text(CONFIG)
    output = tmp_path / "out"
    more = ["--parametric-map", "--structured-report", "--config", tmp_path / "config.yaml", *options]

    _assert_silent(_told("nsn2n", "denoise", study, output, *more))

    if "--dry-run" not in options:
        _assert_no_word_outside_of_dicom(output)


def test_the_list_of_series_tells_no_word_of_a_patient(study):
    _assert_silent(_told("nsn2n", "info", study, "--traceback"))


@pytest.mark.parametrize("level", ["DEBUG"])
def test_the_application_tells_no_word_of_a_patient(study, tmp_path, level):
    (tmp_path / "app.yaml").write_text(f"nsn2n: {{config: {CONFIG}, parametric_map: true, structured_report: true}}\n")
    output = tmp_path / "out"

    told = _told("nsn2n.app", "-i", study, "-o", output, "-l", level, HOLOSCAN_CONFIG_PATH=str(tmp_path / "app.yaml"))

    _assert_silent(told)
    _assert_no_word_outside_of_dicom(output)
