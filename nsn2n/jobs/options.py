# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The one table of options: the choices of a user for a run.

The options of ``nsn2n denoise``, the keys of ``app.yaml`` with their checks, and the table in ``docs/options.md`` all
come from the fields of :class:`JobOptions`. A new option is one field here, and the code that uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n._version import __version__
from nsn2n.dicom.write.derivation import LARGEST_SERIES_NUMBER, Derivation
from nsn2n.errors import SettingsError
from nsn2n.modality import Modality
from nsn2n.runtime.config_loading import check_bounds, option, shown, updated_from
from nsn2n.runtime.sizes import size_in_bytes
from nsn2n.runtime.volumes import memory_limit
from nsn2n.settings import PRESETS, Settings
from nsn2n.settings import preset as preset_settings

if TYPE_CHECKING:
    from nsn2n.dicom.write.series_writer import WriteOptions
    from nsn2n.result import DenoiseResult
    from nsn2n.stack.slice_stack import SliceStack

__all__ = ["GROUPS", "JobOptions"]

INPUT, METHOD, OUTPUT, REPORT = GROUPS = ("Input", "Method", "Output", "Report")

_DICOM = ("DICOM",)
_FILES = ("volume files",)


@dataclass(frozen=True, kw_only=True)
class JobOptions:
    """The options of a run, the same for all its series; checked on construction.

    Raises
    ------
    SettingsError
        If a value is out of bounds, or two contradict each other.
    """

    series_uids: tuple[str, ...] = option(
        (),
        "SeriesInstanceUID of a series to denoise, instead of those that the rules choose; repeatable.",
        group=INPUT,
        flag="--series",
        inputs=_DICOM,
    )
    selection_rules: Path | None = option(
        None,
        "File with the rules that choose series, relative to app.yaml; by default those of the model bundle.",
        group=INPUT,
        inputs=_DICOM,
    )
    refuse_gaps: bool = option(
        False,
        "Refuse a series with missing or unevenly spaced slices; otherwise its evenly spaced parts are denoised "
        "separately.",
        group=INPUT,
        flag="--refuse-gaps",
        inputs=_DICOM,
    )
    modality: Modality | None = option(
        None,
        "Modality of a volume file; MR: magnitudes. DICOM files state it themselves.",
        choices=tuple(Modality),
        group=INPUT,
        flag="--modality",
        in_app_yaml=False,
        inputs=_FILES,
    )
    mask: Path | None = option(
        None,
        "Volume file on the same grid; voxels where it is 0 are ignored and returned unchanged.",
        group=INPUT,
        flag="--mask",
        metavar="FILE",
        in_app_yaml=False,
        inputs=_FILES,
    )
    strict: bool = option(
        False, "Start no further series after one has failed.", group=INPUT, flag="--strict", inputs=_DICOM
    )

    preset: str | None = option(
        None,
        "Preset of the method's settings; by default the preset default.",
        choices=tuple(PRESETS),
        group=METHOD,
        flag="--preset",
    )
    config: Mapping[str, Any] = option(
        default_factory=dict,
        help="Settings of the method that differ from those of the preset: a YAML or JSON file; in app.yaml a mapping.",
        group=METHOD,
        flag="--config",
        metavar="FILE",
    )
    seed: int | None = option(
        None,
        "Seed of weights and crops: 0 or more; by default that of the settings.",
        group=METHOD,
        flag="--seed",
    )
    strength: float | None = option(
        None,
        "Fraction of the noise to remove: 0 (none) to 1; by default that of the settings.",
        at_least=0,
        at_most=1,
        group=METHOD,
        flag="--strength",
    )
    budget_s: float | None = option(
        None,
        "End the fits early, so that a series takes about this long.",
        unit="s",
        above=0,
        group=METHOD,
        flag="--budget",
        metavar="SECONDS",
    )
    device: str = option(
        "auto", "Device to compute on.", choices=("auto", "cpu", "cuda"), group=METHOD, flag="--device"
    )
    memory: str | None = option(
        None,
        "Memory that a run may take, such as 8G or 900M (powers of 1024): a volume that needs more is kept in "
        "temporary files, with the same result. By default a volume that the available memory cannot hold is refused.",
        group=METHOD,
        flag="--memory",
        metavar="SIZE",
    )

    series_description_suffix: str = option(
        Derivation.series_description_suffix,
        "Appended to the SeriesDescription of the source.",
        group=OUTPUT,
        flag="--series-description-suffix",
        metavar="TEXT",
        inputs=_DICOM,
    )
    series_number_offset: int = option(
        Derivation.series_number_offset,
        "Added to the SeriesNumber of the source.",
        at_least=1,
        at_most=LARGEST_SERIES_NUMBER // 2,
        group=OUTPUT,
        flag="--series-number-offset",
        inputs=_DICOM,
    )
    research_mark: bool = option(
        Derivation.research_mark,
        'Mark the new series as for research only: ContentQualification RESEARCH, and "(research)" in its description.',
        group=OUTPUT,
        flag="--research-mark",
        inputs=_DICOM,
    )
    compression: str = option(
        "none",
        "Compression of the pixels of the new series; all choices are lossless.",
        choices=("none", "rle", "jpeg-ls", "jpeg-2000"),
        group=OUTPUT,
        flag="--compress",
        inputs=_DICOM,
    )
    residual: bool = option(
        False,
        "Also write what was removed: NAME_residual, next to the new file and in its format.",
        group=OUTPUT,
        flag="--residual",
        in_app_yaml=False,
        inputs=_FILES,
    )
    noise_map: bool = option(
        False,
        "Also write the local standard deviation of the noise: NAME_noise-sd, next to the new file and in its format.",
        group=OUTPUT,
        flag="--noise-map",
        in_app_yaml=False,
        inputs=_FILES,
    )
    bids: bool = option(
        False,
        "Name and describe the new files as BIDS derivatives; IN is an image of a BIDS dataset, OUT a folder such as "
        "derivatives/nsn2n.",
        group=OUTPUT,
        flag="--bids",
        in_app_yaml=False,
        inputs=_FILES,
    )
    force: bool = option(
        False,
        "Write a series even if the structure check finds that anatomy was removed.",
        group=OUTPUT,
        flag="--force",
    )

    report: bool = option(
        True,
        "Write a quality report (report.html, report.json) for each new series, in the folder reports.",
        group=REPORT,
        flag="--report",
        inputs=_DICOM,
    )
    viewer: bool = option(
        False,
        "Write viewer.html next to the report: before, after and removed, slice by slice, in one page for a browser.",
        group=REPORT,
        flag="--viewer",
        inputs=_DICOM,
    )
    parametric_map: bool = option(
        False,
        "Write the removed noise, and the contrast retention of faint discs, as DICOM Parametric Maps, one series "
        "each.",
        group=REPORT,
        flag="--parametric-map",
        inputs=_DICOM,
    )
    structured_report: bool = option(
        False,
        "Write the measurements as a DICOM Structured Report, in a separate series.",
        group=REPORT, flag="--structured-report", inputs=_DICOM,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Have the values checked by the code that uses them later."""
        check_bounds(self)
        if self.viewer and not self.report:
            raise SettingsError(
                "viewer must be combined with the report, next to which it is written; report is false. Leave one out."
            )
        self.settings()
        self.memory_bytes()
        self.derivation("-")
        if self.selection_rules is not None:
            from nsn2n.dicom.selection.rules import load_rules

            load_rules(self.selection_rules)

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any], prefix: str = "") -> JobOptions:
        """Make options from plain values, as a YAML file holds them.

        Raises
        ------
        SettingsError
            If a key is unknown (the nearest known one is named), or a value has the wrong type or is out of bounds.
        """
        return updated_from(cls(), mapping, prefix)

    def settings(self) -> Settings:
        """Return the settings of the method: those of the preset, with the changes of ``config``.

        Raises
        ------
        SettingsError
            If one is unknown or out of bounds, or the configuration names another preset.
        """
        named = self.config.get("preset")
        if None not in (self.preset, named) and self.preset != named:
            raise SettingsError(f"preset {self.preset} and preset {shown(named)} of config must agree. Leave one out.")
        settings = Settings.from_mapping(self.config, None if named else preset_settings(self.preset or "default"))
        given = {"seed": self.seed, "strength": self.strength, "budget_s": self.budget_s}
        return Settings.from_mapping({name: value for name, value in given.items() if value is not None}, settings)

    def memory_bytes(self) -> int | None:
        """Return the memory limit in bytes; None if there is none.

        Raises
        ------
        SettingsError
            If it is not a size.
        """
        return None if self.memory is None else size_in_bytes(self.memory)

    def within_memory(self) -> AbstractContextManager[None]:
        """Return the context in which a series is read, denoised and written, with the memory limit."""
        return memory_limit(self.memory_bytes())

    def denoise(self, stack: SliceStack, **keywords: Any) -> DenoiseResult:
        """Denoise a stack with these options; PyTorch is imported here. ``progress`` as for `nsn2n.denoise`."""
        from nsn2n.denoising import denoise_stack

        with self.within_memory():
            return denoise_stack(stack, self.settings(), device=self.device, **keywords)

    def derivation(self, description: str) -> Derivation:
        """Return the description of what was done to a series.

        Raises
        ------
        SettingsError
            If a text or number is beyond the limits of its attribute.
        """
        return Derivation(
            description=description,
            software_version=__version__,
            series_description_suffix=self.series_description_suffix,
            series_number_offset=self.series_number_offset,
            research_mark=self.research_mark,
        )

    def write_options(self, taken_series_numbers: Collection[int] = ()) -> WriteOptions:
        """Return how a series is written."""
        from nsn2n.dicom.write.series_writer import WriteOptions

        return WriteOptions(taken_series_numbers=frozenset(taken_series_numbers), compression=self.compression)
