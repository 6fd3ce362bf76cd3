# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""app.yaml is read and checked before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from nsn2n._version import __version__
from nsn2n.app.settings import app_yaml_keys, find_settings_file, load_settings, selection_rules_file
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import JobOptions

ROOT = Path(__file__).resolve().parents[2]
RULES = '{"selections": [{"name": "CT", "conditions": {"Modality": "CT"}}]}'


def _load(tmp_path, text):
    file = tmp_path / "app.yaml"
    file.write_text(text)
    return load_settings(file)


def test_file_of_the_project_has_the_version_and_what_the_packager_wants():
    content = yaml.safe_load((ROOT / "app.yaml").read_text())

    assert content["application"]["version"] == __version__
    assert content["application"]["title"] == "nsn2n"
    assert content["application"]["inputFormats"] == content["application"]["outputFormats"] == ["file"]
    assert set(content["resources"]) == {"cpu", "gpu", "memory", "gpuMemory"}


def test_file_of_the_project_names_every_setting_with_its_default():
    content = yaml.safe_load((ROOT / "app.yaml").read_text())

    assert set(content["nsn2n"]) == set(app_yaml_keys())
    assert load_settings(ROOT / "app.yaml") == JobOptions(preset="default", seed=0, strength=1)


def test_keys_are_the_options_but_for_what_dicom_files_say_themselves():
    of_files = {"modality", "mask", "residual", "noise_map", "bids"}  # they are for files of other formats
    assert set(JobOptions.__dataclass_fields__) - set(app_yaml_keys()) == of_files


def test_values_are_taken(tmp_path):
    settings = _load(
        tmp_path,
        "nsn2n: {preset: fast, seed: 3, strength: 0.5, budget_s: 30, device: cpu, memory: 8G,"
        " config: {fit: {steps: 9}}, series_uids: ['2.25.1'], refuse_gaps: true, strict: true,"
        " series_description_suffix: clean, series_number_offset: 7, research_mark: true, compression: rle,"
        " force: true, report: true, viewer: true, parametric_map: true, structured_report: true}",
    )

    assert settings == JobOptions(
        preset="fast",
        seed=3,
        strength=0.5,
        budget_s=30.0,
        device="cpu",
        memory="8G",
        config={"fit": {"steps": 9}},
        series_uids=("2.25.1",),
        refuse_gaps=True,
        strict=True,
        series_description_suffix="clean",
        series_number_offset=7,
        research_mark=True,
        compression="rle",
        force=True,
        report=True,
        viewer=True,
        parametric_map=True,
        structured_report=True,
    )


@pytest.mark.parametrize("text", ["application: {title: x}", "nsn2n:"])
def test_what_is_absent_is_as_in_the_class(tmp_path, text):
    assert _load(tmp_path, text) == JobOptions()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nsn2n: {presett: fast}", r"Setting 'nsn2n\.presett' is unknown\. Did you mean 'nsn2n\.preset'\?"),
        ("resource: {cpu: 1}", r"Section of app\.yaml 'resource' is unknown\. Did you mean 'resources'\?"),
        ("nsn2n: {modality: MR}", r"Setting 'nsn2n\.modality' is unknown\. Did you mean"),
        ("nsn2n: {preset: quick}", "preset must be one of .*got 'quick'"),
        ("nsn2n: {seed: 1.5}", r"Setting 'nsn2n\.seed' must be of type int or null; got 1\.5"),
        ("nsn2n: {seed: true}", r"Setting 'nsn2n\.seed' must be of type int or null; got True"),
        ("nsn2n: {seed: -1}", "seed must be an integer in 0"),
        ("nsn2n: {strength: 1.5}", r"strength must be in 0\.\.1; got 1.5"),
        ("nsn2n: {strength: much}", r"Setting 'nsn2n\.strength' must be of type float or null; got 'much'"),
        ("nsn2n: {budget_s: 0}", r"budget_s must be > 0; got 0\.0"),
        ("nsn2n: {device: abacus}", "device must be one of auto, cpu, cuda; got 'abacus'"),
        ("nsn2n: {preset: fast, config: {preset: paper}}", "preset fast and preset 'paper' of config must agree"),
        ("nsn2n: {config: {fit: {stepps: 3}}}", "fit.stepps.*Did you mean 'fit.steps'"),
        ("nsn2n: {config: [1]}", r"Setting 'nsn2n\.config' must be of type [Mm]apping; got \[1\]"),
        (
            "nsn2n: {series_uids: [1.2]}",
            r"'nsn2n\.series_uids' must be a list of quoted strings; got \[1\.2\]",
        ),
        ("nsn2n: {series_number_offset: 0}", "series_number_offset must be in 1"),
        ("nsn2n: {series_description_suffix: ''}", "series_description_suffix must be 1 to 64"),
        ("nsn2n: {strict: 1}", r"Setting 'nsn2n\.strict' must be of type bool; got 1"),
        ("nsn2n: {refuse_gaps: 'yes'}", r"Setting 'nsn2n\.refuse_gaps' must be of type bool; got 'yes'"),
        ("nsn2n: {research_mark: 1}", r"Setting 'nsn2n\.research_mark' must be of type bool; got 1"),
        ("nsn2n: {compression: zip}", "compression must be one of none, rle, jpeg-ls, jpeg-2000; got 'zip'"),
        ("nsn2n: {selection_rules: none.json}", "selection rules must be a readable JSON file"),
        ("nsn2n: [", r"app\.yaml must be a readable YAML or JSON file; got .* at .*app\.yaml"),
        ("- nsn2n", "must be mappings"),
        ("nsn2n: fast", "must be mappings"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(SettingsError, match=message) as caught:
        _load(tmp_path, text)

    assert "\n" not in str(caught.value)


def test_environment_names_the_file_else_it_lies_beside_the_application(tmp_path):
    file = tmp_path / "app.config"
    file.touch()

    assert find_settings_file({"HOLOSCAN_CONFIG_PATH": str(file)}) == file
    assert find_settings_file({}) == ROOT / "app.yaml"
    with pytest.raises(SettingsError, match="HOLOSCAN_CONFIG_PATH must name"):
        find_settings_file({"HOLOSCAN_CONFIG_PATH": str(tmp_path / "none")})


def test_rules_come_from_the_settings_then_the_model_then_the_package(tmp_path):
    in_model = tmp_path / "models" / "nsn2n" / "configs" / "selection_rules.json"
    in_model.parent.mkdir(parents=True)
    in_model.write_text(RULES)
    (tmp_path / "own.json").write_text(RULES)
    chosen = _load(tmp_path, "nsn2n: {selection_rules: own.json}")

    assert selection_rules_file(chosen, tmp_path / "models") == tmp_path / "own.json"
    assert selection_rules_file(JobOptions(), tmp_path / "models") == in_model
    assert selection_rules_file(JobOptions(), tmp_path) is None
    assert selection_rules_file(JobOptions(), None) is None
