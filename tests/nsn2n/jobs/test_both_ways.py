# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command line and the application take the same steps: every file of one is that of the other."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
import yaml

from nsn2n.app import main as application
from nsn2n.cli.main import main as command_line
from nsn2n.synthetic.dicom_series import write_synthetic_series

pytestmark = pytest.mark.slow

CONFIG = {"fit": {"steps": 3, "crop_px": 16}, "refit": {"steps": 4}, "network": {"channels": 4, "levels": 2}}
OPTIONS = {"seed": 3, "strength": 0.75, "series_number_offset": 100, "parametric_map": True, "structured_report": True}
SPACING_MM = (2.0, 0.5, 0.7)

WELL_KNOWN = "1.2.840.10008."
"""Root of the UIDs of the standard: classes, transfer syntaxes."""


def _volume(seed, slices=6):
    y, x = np.mgrid[:44, :36]
    disk_hw = np.where((y - 20) ** 2 + (x - 14) ** 2 < 90, 400.0, 60.0)
    return np.rint(disk_hw + np.random.default_rng(seed).normal(0, 25, (slices, 44, 36)))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """One study: padded (10), with a gap (20), of two volumes (30), tilted (40), and one that is refused (50)."""
    folder = tmp_path_factory.mktemp("both") / "study"
    common = {"study_uid": "2.25.77", "seed": "both", "spacing_mm": SPACING_MM}
    padded = _volume(1)
    padded[:, -3:] = -1000
    write_synthetic_series(padded, folder, series_number=10, overrides={"PixelPaddingValue": 24}, **common)
    write_synthetic_series(_volume(2, 9), folder, series_number=20, **common)[4].unlink()
    echoes = {"EchoTime": lambda index: 10 + 10 * (index // 6), "ImagePositionPatient": lambda i: [0, 0, 2.0 * (i % 6)]}
    write_synthetic_series(_volume(3, 12), folder, series_number=30, modality="MR", overrides=echoes, **common)
    tilt = {"ImagePositionPatient": lambda index: [0, 0.6 * index, 2.0 * index]}
    write_synthetic_series(_volume(4), folder, series_number=40, overrides=tilt, **common)
    write_synthetic_series(_volume(5, 1), folder, series_number=50, **common)
    return folder


@pytest.fixture(scope="module")
def outputs(study, logging_kept):
    """Folders that the command line and the application wrote, both in this process."""
    folder = study.parent
    (folder / "settings.yaml").write_text(yaml.safe_dump(CONFIG))
    (folder / "app.yaml").write_text(yaml.safe_dump({"nsn2n": {**OPTIONS, "config": CONFIG}}))
    by_command = ["nsn2n", "denoise", study, folder / "command", "--config", folder / "settings.yaml"]
    by_command += ["--seed", 3, "--strength", 0.75, "--series-number-offset", 100]
    by_command += ["--parametric-map", "--structured-report"]
    with pytest.MonkeyPatch.context() as patch, logging_kept():
        patch.setattr(sys, "argv", list(map(str, by_command)))
        with pytest.raises(SystemExit) as stopped:
            command_line()
        assert stopped.value.code == 3  # series 50 is refused
    with pytest.MonkeyPatch.context() as patch, logging_kept():
        patch.setenv("HOLOSCAN_CONFIG_PATH", str(folder / "app.yaml"))
        assert application(["-i", str(study), "-o", str(folder / "application")]) == 3
    return folder / "command", folder / "application"


def _by_number(output):
    """Files of each series, by its number."""
    series = {}
    for folder in output.glob("2.25.*"):
        files = sorted(folder.iterdir())
        series[int(pydicom.dcmread(files[0], stop_before_pixels=True).SeriesNumber)] = files
    return series


@pytest.fixture(scope="module")
def source_uids(study):
    headers = [pydicom.dcmread(path) for path in study.iterdir()]
    return {element.value for header in headers for element in header.iterall() if element.VR == "UI"}


def _timeless(dataset, source_uids):
    """All elements, but new UIDs and what tells when it was made."""

    def shown(element):
        if element.VR == "UI":
            uids = [str(uid) for uid in ([element.value] if element.VM <= 1 else element.value)]
            return [uid if uid in source_uids or uid.startswith(WELL_KNOWN) else "new" for uid in uids]
        if element.VR in ("DA", "TM", "DT"):
            return "when"
        if element.VR == "SQ":
            return [_timeless(item, source_uids) for item in element.value]
        return element.value

    # The length of a group is that of its UIDs too.
    return {str(element.tag): (element.VR, shown(element)) for element in dataset if element.tag.element != 0}


def test_the_same_series_are_written_by_the_same_numbers(outputs):
    by_command, by_application = map(_by_number, outputs)

    assert sorted(by_command) == sorted(by_application)
    assert {name for files in by_command.values() for name in (files[0].name,)} >= {
        "IM0001.dcm",
        "PM0001.dcm",
        "SR0001.dcm",
    }
    assert {number: [path.name for path in files] for number, files in by_command.items()} == {
        number: [path.name for path in files] for number, files in by_application.items()
    }


def test_every_dicom_file_is_the_same(outputs, source_uids):
    by_command, by_application = map(_by_number, outputs)

    for number, files in by_command.items():
        for ours, theirs in zip(files, by_application[number], strict=True):
            ours, theirs = pydicom.dcmread(ours), pydicom.dcmread(theirs)
            assert _timeless(ours, source_uids) == _timeless(theirs, source_uids), (number, ours.filename)
            assert _timeless(ours.file_meta, source_uids) == _timeless(theirs.file_meta, source_uids)


def _reports(output):
    numbers = {files[0].parent.name: number for number, files in _by_number(output).items()}
    return {numbers[folder.name]: folder for folder in (output / "reports").iterdir()}


def _plain(folder: Path, name: str) -> str:
    """Text of a file without the UIDs of the new series and the seconds that it took."""
    text = (folder / name).read_text(encoding="utf-8").replace(folder.name, "new")
    return re.sub(r'("seconds": |bfloat16, |float32, )[\d.]+', r"\1-", text)


def test_every_report_is_the_same(outputs):
    by_command, by_application = map(_reports, outputs)

    assert sorted(by_command) == sorted(by_application) == [110, 120, 130, 140]
    for number, folder in by_command.items():
        assert sorted(path.name for path in folder.iterdir()) == ["report.html", "report.json"]
        for name in ("report.json", "report.html"):
            assert _plain(folder, name) == _plain(by_application[number], name), (number, name)


@pytest.mark.parametrize(
    ("number", "parts"),
    [
        (110, [(6, list(SPACING_MM))]),
        (120, [(4, list(SPACING_MM)), (4, list(SPACING_MM))]),
        (130, [(6, list(SPACING_MM))] * 2),
        (140, [(6, [float(np.hypot(0.6, 2.0)), 0.5, 0.7])]),
    ],
)
def test_each_report_shows_the_spacing_of_each_part_and_pixels_of_their_shape(outputs, number, parts):
    for reports in map(_reports, outputs):
        record = json.loads((reports[number] / "report.json").read_text())
        page = (reports[number] / "report.html").read_text(encoding="utf-8")

        assert [(part["slices"], pytest.approx(part["spacing_mm"])) for part in record["parts"]] == parts
        assert record["spacing_mm"] == pytest.approx(parts[0][1])
        assert f"aspect-ratio: {36 * 0.7 / (44 * 0.5):.4f}" in page
        assert 0.8 * 0.5 / 0.7 < max(record["noise_power_spectrum"]["frequency_per_mm"]) <= 0.5 / 0.7
        assert "1/mm" in page
