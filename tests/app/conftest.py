# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Studies and settings for whole runs of the application."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest

from nsn2n.synthetic.dicom_series import write_synthetic_series


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch, tmp_path):
    """No variable of the machine decides; the fit is small."""
    for name in ("INPUT_PATH", "OUTPUT_PATH", "MODEL_PATH", "WORKDIR", "LOG_LEVEL"):
        monkeypatch.delenv(f"HOLOSCAN_{name}", raising=False)
    file = tmp_path / "settings" / "app.yaml"
    file.parent.mkdir()
    file.write_text(
        "nsn2n: {preset: fast, seed: 1, config: {fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}}}\n"
    )
    monkeypatch.setenv("HOLOSCAN_CONFIG_PATH", str(file))


PATIENT = {
    "PatientName": "Secretname^Jane",
    "PatientID": "SECRETID",
    # Not a date as DICOM has it, which pydicom remarks on with the value.
    "PatientBirthDate": "1970-12-31",
}


def write_series(folder, number, *, slices=5, **overrides):
    """A noisy disk as series `number` of the one study."""
    y, x = np.mgrid[:24, :20]
    disk_hw = np.where((y - 10) ** 2 + (x - 12) ** 2 < 36, 40.0, -900.0)
    noise = np.random.default_rng(number).normal(0, 25, (slices, 24, 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about the birth date
        return write_synthetic_series(
            np.rint(disk_hw + noise),
            folder / f"series{number}",
            series_number=number,
            series_description=f"number {number}",
            study_uid="2.25.77",
            seed="app",
            overrides={**PATIENT, **overrides},
        )


def gap(index):
    """ImagePositionPatient of a series that lacks so many slices that no three are left side by side."""
    return [0, 0, index + (index + 1) // 2]


@pytest.fixture
def make_series(tmp_path):
    """A function that adds a series to the folder `study`: its number, and options of `write_series`."""
    return partial(write_series, tmp_path / "study")


@pytest.fixture
def make_bad_series(make_series):
    """A function that adds a series with too many gaps."""
    return partial(make_series, ImagePositionPatient=gap)


@pytest.fixture
def study(tmp_path):
    """A localizer (1), two volumes (2, 3), a secondary capture (4), a volume with too many gaps (5)."""
    folder = tmp_path / "study"
    write_series(folder, 1, slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    write_series(folder, 2)
    write_series(folder, 3, slices=4)
    write_series(folder, 4, slices=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.7", Modality="OT")
    write_series(folder, 5, ImagePositionPatient=gap)
    return folder


@pytest.fixture
def gap_study(tmp_path):
    """Nothing but a volume with too many gaps."""
    write_series(tmp_path / "gap", 5, ImagePositionPatient=gap)
    return tmp_path / "gap"


@pytest.fixture
def localizer_study(tmp_path):
    """Nothing but a localizer."""
    write_series(tmp_path / "localizer", 1, slices=1, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    return tmp_path / "localizer"
