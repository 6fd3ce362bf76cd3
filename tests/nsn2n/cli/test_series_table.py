# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console

from nsn2n.cli.series_table import list_series, print_series
from nsn2n.errors import DicomError
from nsn2n.synthetic.dicom_series import write_synthetic_series


@pytest.fixture
def lines(tmp_path):
    volume = np.zeros((3, 4, 5))
    unnamed = {"SeriesNumber": None, "SeriesDescription": None}
    write_synthetic_series(volume, tmp_path, seed="s", spacing_mm=(2.5, 0.5, 0.75), series_description="[red]a\tb")
    write_synthetic_series(volume, tmp_path, seed="s", series_number=2, modality="MR", overrides=unnamed)
    write_synthetic_series(
        volume[:1], tmp_path, seed="s", series_number=3, overrides={"ImageType": ["DERIVED", "SECONDARY"]}
    )
    return list_series(tmp_path)


def test_what_is_said_of_a_series(lines):
    named, derived, unnamed = lines

    assert (named.number, named.modality, named.size, named.denoise) == ("1", "CT", "3 x 4 x 5", "yes")
    assert named.spacing_mm == "2.5 x 0.5 x 0.75"
    assert named.image_type == "ORIGINAL\\PRIMARY\\AXIAL"
    assert (unnamed.number, unnamed.modality, unnamed.description) == ("-", "MR", "-")
    assert (derived.size, derived.spacing_mm) == ("1 file of 4 x 5", "-")
    assert derived.denoise.startswith("left alone: ")


def test_refusal_of_a_selected_series(tmp_path):
    write_synthetic_series(np.zeros((1, 4, 4)), tmp_path)

    (line,) = list_series(tmp_path)

    assert line.denoise.startswith("refused: ")
    assert "a single slice" in line.denoise


def test_parts_are_reported_with_each_spacing_once(tmp_path):
    places = [0, 1, 2, 6, 9, 12, 30, 31, 32]
    overrides = {"ImagePositionPatient": lambda index: [0, 0, places[index]]}
    write_synthetic_series(np.zeros((9, 4, 5)), tmp_path, spacing_mm=(1, 0.5, 0.75), overrides=overrides)

    (line,) = list_series(tmp_path)

    assert (line.denoise, line.size) == ("yes, in 3 parts", "9 x 4 x 5")
    assert line.spacing_mm == "1 x 0.5 x 0.75; 3 x 0.5 x 0.75"


def test_plain_lines_have_equal_fields(lines):
    out = io.StringIO()

    print_series(lines, Console(file=out, force_terminal=False, width=20))

    rows = [row.split("\t") for row in out.getvalue().splitlines()]
    assert [len(row) for row in rows] == [8] * 4
    assert rows[1][2] == "[red]a b"
    assert rows[1][-1] == lines[0].series_uid


def test_table_on_a_terminal_shows_descriptions_as_they_are(lines):
    terminal = Console(file=io.StringIO(), force_terminal=True, width=160)

    print_series(lines, terminal)

    shown = terminal.file.getvalue()
    assert "[red]a b" in shown
    assert all(line.series_uid in shown for line in lines)


def test_nothing_of_the_patient_is_shown(lines):
    assert not any("PHANTOM" in str(line) for line in lines)


def test_folder_without_dicom(tmp_path):
    with pytest.raises(DicomError, match="no DICOM found"):
        list_series(tmp_path)
