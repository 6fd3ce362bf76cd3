# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the application from ``app.yaml``, read and checked once, before anything is loaded."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from nsn2n.errors import SettingsError
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.config_loading import known_key, option_of, read_yaml

__all__ = ["app_yaml_keys", "find_settings_file", "load_settings", "selection_rules_file"]

CONFIG_VARIABLE = "HOLOSCAN_CONFIG_PATH"
"""Path of the application's configuration in a package; Holoscan reads it too."""

SECTIONS = ("application", "resources", "nsn2n")
"""The first two are for the packager."""

RULES_IN_MODEL = Path("nsn2n", "configs", "selection_rules.json")


def app_yaml_keys() -> tuple[str, ...]:
    """Return the keys of section ``nsn2n``: the options that apply to the application."""
    described = {entry.name: option_of(entry) for entry in fields(JobOptions)}
    return tuple(name for name, option in described.items() if option is not None and option.in_app_yaml)


def find_settings_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """Return the ``app.yaml`` to use: that of ``HOLOSCAN_CONFIG_PATH``, else the one next to the folder ``app``.

    Raises
    ------
    SettingsError
        If the environment names a file that does not exist; Holoscan would not start either.
    """
    named = (os.environ if environment is None else environment).get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{CONFIG_VARIABLE} must name the configuration file; {named} is not a file. Correct or unset it."
            )
        return Path(named)
    beside = Path(__file__).resolve().parents[1] / "app.yaml"
    return beside if beside.is_file() else None


def load_settings(file: Path | None) -> JobOptions:
    """Read the options; those of the class if there is no file.

    Raises
    ------
    SettingsError
        If the file cannot be read, is not YAML, or holds an unknown key or a wrong value.
    """
    if file is None:
        return JobOptions()
    content = read_yaml(file, "app.yaml")
    if not isinstance(content, dict) or not isinstance(content.get("nsn2n") or {}, dict):
        raise SettingsError(f"app.yaml and its section nsn2n must be mappings; {file} is not. Correct it.")
    for key in content:
        known_key(key, SECTIONS, "Section of app.yaml")
    section = dict(content.get("nsn2n") or {})
    for key in section:
        known_key(key, app_yaml_keys(), "Setting", "nsn2n.")
    if isinstance(section.get("selection_rules"), str):
        section["selection_rules"] = str(file.parent / section["selection_rules"])
    return JobOptions.from_mapping(section, "nsn2n.")


def selection_rules_file(options: JobOptions, model_folder: Path | None) -> Path | None:
    """Return the file with the rules: that of the settings, else of the model; None: the packaged one."""
    if options.selection_rules is not None:
        return options.selection_rules
    in_model = model_folder / RULES_IN_MODEL if model_folder else None
    return in_model if in_model and in_model.is_file() else None
