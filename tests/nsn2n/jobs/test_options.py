# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One table says what a user may decide; its values are checked at once and reach what uses them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import pydicom
import pytest

from nsn2n import SliceStack, denoise
from nsn2n._version import __version__
from nsn2n.dicom.pixels.lossless import ENCODINGS
from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.series_writer import WriteOptions, write_series
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import GROUPS, JobOptions
from nsn2n.modality import Modality
from nsn2n.runtime.config_loading import option_of
from nsn2n.runtime.volumes import current_room
from nsn2n.settings import PRESETS, Settings

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}
RULES = '{"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}'
TABLE = {entry.name: option_of(entry) for entry in fields(JobOptions)}


def test_a_viewer_lies_beside_a_report():
    with pytest.raises(SettingsError, match="viewer must be combined with the report"):
        JobOptions(viewer=True, report=False)


# --- the table ----------------------------------------------------------------------------------------------


def test_every_field_says_what_it_is():
    for name, told in TABLE.items():
        assert told is not None, name
        assert told.help.endswith("."), name
        assert told.group in GROUPS, name
        assert told.flag or told.in_app_yaml, name
        assert set(told.inputs) <= {"DICOM", "volume files"}, name
        assert told.inputs, name


def test_flags_are_those_of_one_option_each():
    flags = [told.flag for told in TABLE.values() if told.flag]
    assert len(set(flags)) == len(flags)
    assert all(flag.startswith("--") for flag in flags)


def test_fields_stand_together_by_group():
    groups = [told.group for told in TABLE.values()]
    assert list(dict.fromkeys(groups)) == list(GROUPS)
    assert groups == sorted(groups, key=GROUPS.index)


def test_choices_are_all_that_there_are():
    assert TABLE["compression"].choices == tuple(ENCODINGS)
    assert TABLE["preset"].choices == tuple(PRESETS)
    assert TABLE["modality"].choices == tuple(Modality)


def test_defaults_are_those_of_the_writer_and_of_the_method():
    options = JobOptions()

    assert options.derivation("d") == Derivation(description="d", software_version=__version__)
    assert options.write_options() == WriteOptions()
    assert options.write_options({7}).taken_series_numbers == {7}
    assert options.settings() == Settings()


def test_choices_of_output_reach_the_writer():
    options = JobOptions(
        series_description_suffix="clean", series_number_offset=7, research_mark=True, compression="rle"
    )

    assert options.derivation("d") == Derivation(
        description="d", software_version=__version__, series_description_suffix="clean", series_number_offset=7,
        research_mark=True,
    )  # fmt: skip
    assert options.write_options({7}) == WriteOptions(taken_series_numbers=frozenset({7}), compression="rle")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"compression": "zip"}, "compression must be one of none, rle, jpeg-ls, jpeg-2000; got 'zip'"),
        ({"series_number_offset": 0}, r"series_number_offset must be in 1\.\.1073741823; got 0"),
        ({"series_number_offset": 2**30}, "series_number_offset must be in"),
        ({"series_description_suffix": "x" * 65}, "series_description_suffix must be 1 to 64"),
        ({"series_description_suffix": "x" * 60, "research_mark": True}, "series_description_suffix must be 1 to 53"),
        ({"preset": "quick"}, "preset must be one of default, smooth, fast, paper; got 'quick'"),
        ({"modality": "US"}, "modality must be one of CT, MR, PT; got 'US'"),
        ({"device": "abacus"}, "device must be one of auto, cpu, cuda; got 'abacus'"),
        ({"seed": -1}, "seed must be an integer in 0"),
        ({"strength": 1.5}, r"strength must be in 0\.\.1; got 1\.5"),
        ({"strength": float("nan")}, r"strength must be in 0\.\.1; got nan"),
        ({"budget_s": 0.0}, r"budget_s must be > 0; got 0\.0"),
        ({"memory": "much"}, "memory must be a size above 0, such as 8G or 900M; got 'much'"),
        ({"config": {"fit": {"stepps": 3}}}, r"'fit\.stepps' is unknown\. Did you mean 'fit\.steps'"),
        ({"config": {"preset": "quick"}}, "preset must be one of default, smooth, fast, paper; got 'quick'"),
    ],
)
def test_values_are_checked_at_once(options, message):
    with pytest.raises(SettingsError, match=message):
        JobOptions(**options)


def test_the_memory_limit_holds_in_its_context():
    assert (JobOptions().memory_bytes(), JobOptions(memory="1.5G").memory_bytes()) == (None, 3 << 29)
    with JobOptions().within_memory():
        assert current_room() is None
    with JobOptions(memory="1.5G").within_memory():
        assert current_room().limit == 3 << 29


def test_rules_are_read_at_once(tmp_path):
    (tmp_path / "rules.json").write_text(RULES)
    assert JobOptions(selection_rules=tmp_path / "rules.json").selection_rules == tmp_path / "rules.json"

    with pytest.raises(SettingsError, match="selection rules must be a readable JSON file"):
        JobOptions(selection_rules=tmp_path / "none.json")


# --- settings of the method ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, Settings()),
        ({"preset": "fast"}, PRESETS["fast"]),
        ({"config": {"preset": "paper"}}, PRESETS["paper"]),
        ({"preset": "paper", "config": {"preset": "paper"}}, PRESETS["paper"]),
        ({"preset": "fast", "config": {"seed": 3}}, replace(PRESETS["fast"], seed=3)),
        ({"config": {"preset": "fast", "seed": 3}, "seed": 0}, PRESETS["fast"]),
        ({"config": {"strength": 0.5}, "strength": 0.25}, replace(Settings(), strength=0.25)),
        ({"config": {"strength": 0.5}, "strength": 0.0}, replace(Settings(), strength=0.0)),
        ({"budget_s": 9.0}, replace(Settings(), budget_s=9.0)),
        ({"config": {"budget_s": 5}}, replace(Settings(), budget_s=5.0)),
    ],
)
def test_settings_are_those_of_the_preset_with_what_differs(options, expected):
    assert JobOptions(**options).settings() == expected


def test_two_presets_must_agree():
    with pytest.raises(SettingsError, match=r"preset paper and preset 'fast' of config must agree\. Leave one out"):
        JobOptions(preset="paper", config={"preset": "fast"})


def test_a_stack_is_denoised_as_the_options_say():
    volume_dhw = np.random.default_rng(5).normal(40, 20, (4, 18, 22)).astype(np.float32)
    options = JobOptions(preset="fast", config=BRIEF, seed=7, strength=0.5, device="cpu")
    seen = []

    result = options.denoise(SliceStack.of(volume_dhw, modality="CT"), progress=lambda *told: seen.append(told))

    expected = denoise(volume_dhw, modality="CT", preset="fast", config=BRIEF, seed=7, strength=0.5, device="cpu")
    np.testing.assert_array_equal(result.volume, expected.volume)
    assert result.settings == expected.settings == options.settings()
    assert seen[-1] == (1.0, 0.0)


def test_a_device_that_is_not_there_is_reported_when_it_is_used(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    options = JobOptions(device="cuda")

    with pytest.raises(SettingsError, match="got 'cuda', which is not available"):
        options.denoise(SliceStack.of(np.zeros((2, 4, 4))))


def test_options_need_no_pytorch_and_no_pydicom():
    code = (
        "import sys; from nsn2n.jobs.options import JobOptions; JobOptions(preset='fast', compression='rle');"
        "print(sorted({'torch', 'pydicom'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "[]\n"


# --- from_mapping -------------------------------------------------------------------------------------------


def test_plain_values_become_those_of_the_fields(tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(RULES)
    plain = {
        "series_uids": ["2.25.1", "2.25.2"], "selection_rules": str(rules), "modality": "MR", "strength": 1,
        "budget_s": 30, "config": {"fit": {"steps": 9}},
    }  # fmt: skip

    options = JobOptions.from_mapping(plain)

    assert options == JobOptions(
        series_uids=("2.25.1", "2.25.2"), selection_rules=rules, modality=Modality.MR, strength=1.0, budget_s=30.0,
        config={"fit": {"steps": 9}},
    )  # fmt: skip
    assert options.modality is Modality.MR


@pytest.mark.parametrize("mapping", [{}, {"preset": None, "seed": None, "strength": None, "budget_s": None}])
def test_what_is_absent_or_null_is_as_in_the_table(mapping):
    assert JobOptions.from_mapping(mapping) == JobOptions()


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"presett": "fast"}, r"Setting 'nsn2n\.presett' is unknown\. Did you mean 'nsn2n\.preset'\?"),
        ({"seed": 1.5}, r"Setting 'nsn2n\.seed' must be of type int or null; got 1\.5"),
        ({"seed": True}, r"Setting 'nsn2n\.seed' must be of type int or null; got True"),
        ({"strict": 1}, r"Setting 'nsn2n\.strict' must be of type bool; got 1"),
        ({"series_uids": "2.25.1"}, r"Setting 'nsn2n\.series_uids' must be of type list; got '2\.25\.1'"),
        ({"series_uids": [1.2]}, r"Setting 'nsn2n\.series_uids' must be a list of quoted strings; got \[1\.2\]"),
        ({"selection_rules": 3}, r"Setting 'nsn2n\.selection_rules' must be of type str or null; got 3"),
        ({"modality": "US"}, r"Setting 'nsn2n\.modality' must be one of CT, MR, PT; got 'US'"),
        ({"strength": float("inf")}, r"Setting 'nsn2n\.strength' must be finite; got inf"),
        ({"strength": 2}, r"strength must be in 0\.\.1; got 2\.0"),
        ({"compression": None}, r"Setting 'nsn2n\.compression' must be of type str; got None"),
    ],
)
def test_wrong_plain_values_are_refused_by_name(mapping, message):
    with pytest.raises(SettingsError, match=message) as caught:
        JobOptions.from_mapping(mapping, "nsn2n.")

    assert "\n" not in str(caught.value)


# --- what the new series says -------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_research_mark_is_in_an_attribute_and_in_what_people_read(make_series, tmp_path, dciodvfy_messages, modality):
    series = read_series(make_series(modality=modality, series_description="d" * 64))
    options = JobOptions(research_mark=True, series_description_suffix="clean")

    written = write_series(series.stack.values, series.files, tmp_path / "out", options.derivation("d"))

    header = pydicom.dcmread(written.files[0])
    assert header.ContentQualification == "RESEARCH"
    assert header.SeriesDescription == "d" * 47 + " clean (research)"
    new = dciodvfy_messages(written.files) - dciodvfy_messages(series.files)
    assert not [line for line in new if line.startswith("Error")]


def test_no_mark_unless_asked_for(make_series, tmp_path):
    series = read_series(make_series())
    written = write_series(series.stack.values, series.files, tmp_path / "out", JobOptions().derivation("d"))
    header = pydicom.dcmread(written.files[0])
    assert "ContentQualification" not in header
    assert "research" not in header.SeriesDescription
