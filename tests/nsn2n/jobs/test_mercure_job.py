# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Called as mercure's processor calls it; tests/map calls the container so."""

from __future__ import annotations

import json

import numpy as np
import pydicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.synthetic.dicom_series import write_synthetic_series

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}, "refit": {"steps": 3}}


@pytest.fixture
def task(tmp_path, monkeypatch):
    """A function that lays out a task, and sets the environment: a series, and one of a single slice, of one study."""

    def make(settings, numbers=(1, 2)):
        source, target = tmp_path / "data", tmp_path / "output"
        volume = np.random.default_rng(0).normal(40, 20, (4, 24, 20))
        for number in numbers:
            write_synthetic_series(volume[: 4 if number == 1 else 1], source, series_number=number, seed="mercure")
        for file in source.glob("*.dcm"):
            header = pydicom.dcmread(file, stop_before_pixels=True)
            file.rename(source / f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm")
            (source / f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.tags").write_text("{}")
        (source / "task.json").write_text(json.dumps({"id": "1", "process": {"settings": settings}}))
        target.mkdir()
        monkeypatch.setenv("MERCURE_IN_DIR", str(source))
        monkeypatch.setenv("MERCURE_OUT_DIR", str(target))
        return source, target

    return make


def test_what_was_good_is_delivered_and_what_was_not_is_reported(nsn2n, task):
    source, target = task({"config": BRIEF, "series_number_offset": 500})

    result = nsn2n("mercure")

    assert result.code == 0, result.stderr
    assert "1 of 2 selected series written, 1 failed" in result.stderr.splitlines()[-1]
    files = sorted(target.glob("*.dcm"))
    assert {path.name for path in target.iterdir()} == {"result.json", *(file.name for file in files)}
    for file in files:
        header = pydicom.dcmread(file)
        assert file.name == f"{header.SeriesInstanceUID}#{header.SOPInstanceUID}.dcm"
        assert header.SeriesNumber == 501
    told = json.loads((target / "result.json").read_text())
    (written,), (failed,) = told["written"], told["failed"]
    assert (written["files"], written["series_number"]) == (4, 501)
    sent = [file for file in source.glob("*.dcm") if file.name.startswith(f"{written['source']}#")]
    assert read_series(files, allow_own_output=True).geometry == read_series(sent).geometry
    assert "slices" in failed["reason"]
    assert told["__mercure_notification"]["requested"] is True
    assert told["__mercure_notification"]["text"].startswith("1 of 2 series denoised; ")


def test_all_good_asks_for_no_notification(nsn2n, task):
    _, target = task({"config": BRIEF}, numbers=(1,))

    assert nsn2n("mercure").code == 0

    told = json.loads((target / "result.json").read_text())
    assert told["__mercure_notification"] == {"text": "1 of 1 series denoised", "requested": False}


def test_a_task_of_which_nothing_is_good_fails(nsn2n, task):
    _, target = task({}, numbers=(2,))

    result = nsn2n("mercure")

    assert result.code == 1
    assert list(target.glob("*.dcm")) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"presett": "fast"}, "Did you mean 'settings.preset'?"),
        ({"strength": 2}, "strength must be in 0..1; got 2.0"),
        ("fast", "process and its settings must be mappings in task.json"),
    ],
)
def test_wrong_settings_are_one_line(nsn2n, task, settings, message):
    _, target = task(settings)

    result = nsn2n("mercure")

    assert result.code == 1
    assert message in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(target.iterdir()) == []


@pytest.mark.parametrize("content", [None, "", "[]", "{"])
def test_a_task_that_cannot_be_read_is_one_line(nsn2n, task, content):
    source, target = task({})
    (source / "task.json").unlink()
    if content is not None:
        (source / "task.json").write_text(content)

    result = nsn2n("mercure")

    assert result.code == 1
    assert "task.json" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list(target.iterdir()) == []
