# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command line has the options of the table, and gives back what was said."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import pytest
import typer
from typer.main import get_command
from typer.testing import CliRunner

from nsn2n.cli.main import app
from nsn2n.cli.options import given_options, job_options, refuse_options_of_other_inputs, with_job_options
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import GROUPS, JobOptions
from nsn2n.modality import Modality
from nsn2n.runtime.config_loading import option_of

TABLE = {entry.name: option_of(entry) for entry in fields(JobOptions)}
ON_COMMAND_LINE = {name: told for name, told in TABLE.items() if told.flag}


# --- the help -----------------------------------------------------------------------------------------------


def test_every_field_with_a_flag_is_an_option_of_denoise():
    params = {param.name: param for param in get_command(app).commands["denoise"].params}
    for name, told in ON_COMMAND_LINE.items():
        assert params[name].opts == [told.flag], name
        assert params[name].help == told.help, name
        assert params[name].rich_help_panel == told.group, name
    own = {"source", "target", "input_path", "output_path", "dry_run", "quiet", "traceback"}
    assert set(params) - {"help"} == set(ON_COMMAND_LINE) | own


def test_options_stand_in_the_help_under_their_groups(nsn2n, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    result = nsn2n("denoise", "--help")

    assert result.code == 0
    flags: dict[str, list[str]] = {}
    for line in result.stdout.splitlines():
        if heading := re.match(r"╭─ (\w+) ─", line):
            flags[heading[1]] = []
        elif option := re.match(r"│ (--[\w-]+)", line):
            flags[list(flags)[-1]].append(option[1])
    for group in GROUPS:
        assert flags[group] == [told.flag for told in ON_COMMAND_LINE.values() if told.group == group]
    assert list(flags) == ["Arguments", "Options", *GROUPS]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--compress", "[default: (none)]"),
        ("--series-number-offset", "[default: (1000)]"),
        ("--series-description-suffix", "[default: (denoised)]"),
        ("--device", "[default: (auto)]"),
        ("--preset", "<default|smooth|fast|paper>"),
        ("--modality", "<CT|MR|PT>"),
        ("--budget", "SECONDS"),
        ("--report", "--no-report"),
    ],
)
def test_the_help_tells_defaults_and_choices(nsn2n, monkeypatch, flag, said):
    monkeypatch.setenv("COLUMNS", "200")
    (line,) = [line for line in nsn2n("denoise", "--help").stdout.splitlines() if line.startswith(f"│ {flag} ")]
    assert said in line


# --- what was said ------------------------------------------------------------------------------------------


@pytest.fixture
def say():
    """A command of two parameters and the options of the table: what it was called with, or its exit code."""
    own, seen = typer.Typer(), {}

    @own.command()
    @with_job_options
    def command(
        source: Annotated[str, typer.Argument()],
        quiet: Annotated[bool, typer.Option("--quiet")] = False,
        **given: Any,
    ) -> None:
        seen.update(source=source, quiet=quiet, given=given)

    def run(*arguments):
        seen.clear()
        finished = CliRunner().invoke(own, ["in", *map(str, arguments)])
        return dict(seen) or finished.exit_code

    return run


def test_what_was_not_said_is_as_in_the_table(say):
    called = say()

    assert (called["source"], called["quiet"]) == ("in", False)
    assert set(called["given"]) == set(ON_COMMAND_LINE)
    assert given_options(called["given"]) == {}
    assert job_options(called["given"]) == JobOptions()


SAID = {
    "series_uids": (["--series", "2.25.1", "--series", "2.25.2"], ("2.25.1", "2.25.2")),
    "refuse_gaps": (["--refuse-gaps"], True),
    "modality": (["--modality", "MR"], Modality.MR),
    "mask": (["--mask", "mask.nii"], Path("mask.nii")),
    "strict": (["--strict"], True),
    "preset": (["--preset", "fast"], "fast"),
    "config": (["--config", "settings.yaml"], {"fit": {"steps": 9}}),
    "seed": (["--seed", 0], 0),
    "strength": (["--strength", "0"], 0.0),
    "budget_s": (["--budget", 30], 30.0),
    "device": (["--device", "cpu"], "cpu"),
    "memory": (["--memory", "8G"], "8G"),
    "series_description_suffix": (["--series-description-suffix", "clean"], "clean"),
    "series_number_offset": (["--series-number-offset", 7], 7),
    "research_mark": (["--research-mark"], True),
    "compression": (["--compress", "jpeg-ls"], "jpeg-ls"),
    "bids": (["--bids"], True),
    "force": (["--force"], True),
    "residual": (["--residual"], True),
    "noise_map": (["--noise-map"], True),
    "report": (["--no-report"], False),
    "viewer": (["--viewer"], True),
    "parametric_map": (["--parametric-map"], True),
    "structured_report": (["--structured-report"], True),
}


def test_each_option_is_said_below():
    assert set(SAID) == set(ON_COMMAND_LINE)


@pytest.mark.parametrize("name", SAID)
def test_what_was_said_becomes_the_option(say, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.yaml").write_text("fit: {steps: 9}")
    arguments, expected = SAID[name]

    options = job_options(say(*arguments, "--quiet")["given"])

    assert options == JobOptions(**{name: expected})
    assert type(getattr(options, name)) is type(expected)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--compress", "zip"],
        ["--device", "abacus"],
        ["--modality", "US"],
        ["--preset", "quick"],
        ["--seed", "1.5"],
        ["--strength", "much"],
        ["--no-force"],
        ["--selection-rules", "rules.json"],
    ],
)
def test_what_is_no_option_or_no_value_is_not_understood(say, arguments):
    assert say(*arguments) == 2


def test_an_empty_file_of_settings_changes_nothing(tmp_path):
    (tmp_path / "empty.yaml").touch()
    assert given_options({"config": tmp_path / "empty.yaml", "seed": None}) == {"config": {}}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"- 1", "settings.yaml must hold a mapping of settings; got a list"),
        (b"fit: [", "--config must be a readable YAML or JSON file; got .* at .*settings.yaml"),
        (b"\xff\xfe", "--config must be a readable YAML or JSON file"),
        (None, "--config must be a readable YAML or JSON file; got .*No such file"),
    ],
)
def test_a_file_that_holds_no_settings_is_refused_in_one_line(tmp_path, content, message):
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=message) as caught:
        given_options({"config": file})

    assert "\n" not in str(caught.value)


# --- options for other inputs -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["DICOM", "volume files"])
@pytest.mark.parametrize("name", SAID)
def test_an_option_is_refused_with_inputs_that_it_is_not_for(say, name, kind):
    arguments, _ = SAID[name]
    given = say(*arguments)["given"]

    if kind in TABLE[name].inputs:
        refuse_options_of_other_inputs(given, kind, "the input")
        return
    files = r"volume files \(NIfTI, MGH, NRRD, MetaImage\)"
    others = {"DICOM": files, "volume files": "DICOM series"}[kind]
    with pytest.raises(SettingsError, match=f"^{arguments[0]} is for {others}; got the input\\. Leave it out\\.$"):
        refuse_options_of_other_inputs(given, kind, "the input")


def test_what_is_as_by_default_was_still_asked_for(say):
    given = say("--report", "--compress", "none", "--series-number-offset", 1000)["given"]

    message = "^--series-number-offset, --compress, --report are for DICOM series; got t1.nii. Leave them out.$"
    with pytest.raises(SettingsError, match=message):
        refuse_options_of_other_inputs(given, "volume files", "t1.nii")
    refuse_options_of_other_inputs(given, "DICOM", "the folder")


@pytest.mark.parametrize("kind", ["DICOM", "volume files"])
def test_nothing_is_refused_where_nothing_was_said(say, kind):
    refuse_options_of_other_inputs(say()["given"], kind, "the input")
