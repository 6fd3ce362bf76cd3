# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings of the application from ``app.yaml``, read and checked once, before anything is loaded."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import yaml

from nsn2n.dicom.select.rules import load_rules
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import OutputOptions
from nsn2n.settings import Settings, preset

__all__ = ["AppSettings", "find_settings_file", "load_settings", "selection_rules_file"]

CONFIG_VARIABLE = "HOLOSCAN_CONFIG_PATH"
"""Names the application's configuration in a package; Holoscan reads it too."""

SECTIONS = ("application", "resources", "nsn2n")
"""The first two are for the packager."""

RULES_IN_MODEL = Path("nsn2n", "configs", "selection_rules.json")


@dataclass(frozen=True, kw_only=True)
class AppSettings:
    """Section ``nsn2n`` of ``app.yaml``; every key may be left out."""

    preset: str = "default"
    """Settings of the method to start from."""
    seed: int | None = None
    """In place of that of the method's settings; the one used is recorded in the new series."""
    strength: float | None = None
    """How much of the noise to remove, 0..1; in place of that of the method's settings."""
    device: str = "auto"
    """Where to compute: auto, cpu or cuda."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the method that differ from those of the preset."""
    selection_rules: Path | None = None
    """File with the rules that choose series, relative to ``app.yaml``; by default that of the model."""
    series_uids: tuple[str, ...] = ()
    """SeriesInstanceUID of the series to denoise, in place of rules."""
    refuse_gaps: bool = False
    """Refuse a series of which slices are missing or unevenly spaced, in place of denoising its even runs apart."""
    strict: bool = False
    """Begin no series after one has failed."""
    series_description_suffix: str = OutputOptions.series_description_suffix
    """Appended to the SeriesDescription of the source."""
    series_number_offset: int = OutputOptions.series_number_offset
    """Added to the SeriesNumber of the source."""
    research_mark: bool = OutputOptions.research_mark
    """Mark the new series as for research only."""
    compression: str = OutputOptions.compression
    """How pixels are stored: none, rle, jpeg-ls or jpeg-2000; all without loss."""
    force: bool = OutputOptions.force
    """Write a series too of which the structure check says that anatomy was removed."""
    report: bool = OutputOptions.report
    """Write a quality report for each new series."""
    parametric_map: bool = OutputOptions.parametric_map
    """Write the removed noise as a DICOM Parametric Map."""
    structured_report: bool = OutputOptions.structured_report
    """Write the measurements as a DICOM Structured Report."""

    def __post_init__(self) -> None:
        """Let those check the values that use them later."""
        Settings.from_mapping(self.config, base=preset(self.preset))
        if self.seed is not None:
            Settings(seed=self.seed)
        if self.strength is not None:
            Settings(strength=self.strength)
        self.output_options()
        if self.selection_rules is not None:
            load_rules(self.selection_rules)

    def output_options(self) -> OutputOptions:
        """Names and encoding of the new series."""
        return OutputOptions(**{entry.name: getattr(self, entry.name) for entry in fields(OutputOptions)})

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> AppSettings:
        """Make settings from plain values.

        Raises
        ------
        SettingsError
            If a key is unknown or a value has the wrong type or is out of bounds.
        """
        _refuse_unknown(mapping, [entry.name for entry in fields(cls)], "nsn2n.")
        given = {key: _checked(key, value) for key, value in mapping.items()}
        return cls(**given)


KINDS: Mapping[str, tuple[type, ...]] = {
    "preset": (str,),
    "seed": (int, type(None)),
    "strength": (float, int, type(None)),
    "device": (str,),
    "config": (dict,),
    "selection_rules": (str, type(None)),
    "series_uids": (list,),
    "refuse_gaps": (bool,),
    "strict": (bool,),
    "series_description_suffix": (str,),
    "series_number_offset": (int,),
    "research_mark": (bool,),
    "compression": (str,),
    "force": (bool,),
    "report": (bool,),
    "parametric_map": (bool,),
    "structured_report": (bool,),
}
"""Types that YAML gives to the values."""


def _checked(key: str, value: Any) -> Any:
    kinds = KINDS[key]
    if not issubclass(type(value), kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
        raise SettingsError(f"nsn2n.{key} must be of type {wanted}; got {value!r}. Correct it in app.yaml.")
    if key == "selection_rules" and value is not None:
        return Path(value)
    if key == "series_uids":
        if not all(isinstance(uid, str) for uid in value):
            raise SettingsError(f"nsn2n.{key} must be a list of UIDs in quotes; got {value!r}.")
        return tuple(value)
    return value


def _refuse_unknown(mapping: Mapping[str, Any], known: Sequence[str], prefix: str = "") -> None:
    for key in mapping:
        if key not in known:
            nearest = difflib.get_close_matches(str(key), known, n=1, cutoff=0.0)[0]
            raise SettingsError(
                f"{prefix}{key} in app.yaml is unknown. Did you mean {prefix}{nearest}? Known are {', '.join(known)}."
            )


def find_settings_file(environment: Mapping[str, str] | None = None) -> Path | None:
    """Say which ``app.yaml`` holds: that of ``HOLOSCAN_CONFIG_PATH``, else the one beside the folder ``app``.

    Raises
    ------
    SettingsError
        If the environment names a file that is not there; Holoscan would not start either.
    """
    named = (os.environ if environment is None else environment).get(CONFIG_VARIABLE)
    if named:
        if not Path(named).is_file():
            raise SettingsError(
                f"{CONFIG_VARIABLE} must name the configuration file; {named} is none. Correct or unset it."
            )
        return Path(named)
    beside = Path(__file__).resolve().parents[1] / "app.yaml"
    return beside if beside.is_file() else None


def load_settings(file: Path | None) -> AppSettings:
    """Read the settings; those of the class if there is no file.

    Raises
    ------
    SettingsError
        If the file cannot be read, is not YAML, or holds an unknown key or a wrong value.
    """
    if file is None:
        return AppSettings()
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first_line = str(error).splitlines()[0]
        raise SettingsError(
            f"app.yaml must be a readable YAML file; got {first_line} at {file}. Correct it."
        ) from error
    if not isinstance(content, dict) or not isinstance(content.get("nsn2n") or {}, dict):
        raise SettingsError(f"app.yaml and its section nsn2n must be mappings; {file} is not. Correct it.")
    _refuse_unknown(content, SECTIONS)
    section = dict(content.get("nsn2n") or {})
    if isinstance(section.get("selection_rules"), str):
        section["selection_rules"] = str(file.parent / section["selection_rules"])
    return AppSettings.from_mapping(section)


def selection_rules_file(settings: AppSettings, model_folder: Path | None) -> Path | None:
    """Say which file holds the rules: that of the settings, else of the model; None: the packaged one."""
    if settings.selection_rules is not None:
        return settings.selection_rules
    in_model = model_folder / RULES_IN_MODEL if model_folder else None
    return in_model if in_model and in_model.is_file() else None
