# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pydicom
import pytest

from nsn2n._version import __version__
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.derive import Derivation
from nsn2n.dicom.write.series_writer import write_series
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import OutputOptions


def test_defaults_are_those_of_the_writer():
    assert OutputOptions().derivation("d") == Derivation(description="d", software_version=__version__)
    assert OutputOptions().write_options({7}).taken_series_numbers == {7}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zip"}, "compression must be one of"),
        ({"series_number_offset": 0}, "series_number_offset must be in"),
        ({"series_description_suffix": "x" * 65}, "series_description_suffix must be 1 to 64"),
        ({"series_description_suffix": "x" * 60, "research_mark": True}, "series_description_suffix must be 1 to 53"),
    ],
)
def test_values_are_checked_at_once(options, message):
    with pytest.raises(SettingsError, match=message):
        OutputOptions(**options)


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_research_mark_is_in_an_attribute_and_in_what_people_read(make_series, tmp_path, dciodvfy_messages, modality):
    series = read_series(make_series(modality=modality, series_description="d" * 64))
    options = OutputOptions(research_mark=True, series_description_suffix="clean")

    written = write_series(series.volume_dhw, series.files, tmp_path / "out", options.derivation("d"))

    header = pydicom.dcmread(written.files[0])
    assert header.ContentQualification == "RESEARCH"
    assert header.SeriesDescription == "d" * 47 + " clean (research)"
    new = dciodvfy_messages(written.files) - dciodvfy_messages(series.files)
    assert not [line for line in new if line.startswith("Error")]


def test_no_mark_unless_asked_for(make_series, tmp_path):
    series = read_series(make_series())
    written = write_series(series.volume_dhw, series.files, tmp_path / "out", OutputOptions().derivation("d"))
    header = pydicom.dcmread(written.files[0])
    assert "ContentQualification" not in header
    assert "research" not in header.SeriesDescription
