# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The one table of options: what a user decides about a run.

The options of ``nsn2n denoise``, the keys of ``app.yaml`` with their checks, and the table in ``docs/options.md`` all
come from the fields of :class:`JobOptions`. A new option is one field here, and the place that uses it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n._version import __version__
from nsn2n.dicom.write.derivation import LARGEST_SERIES_NUMBER, Derivation
from nsn2n.errors import SettingsError
from nsn2n.modality import Modality
from nsn2n.runtime.config_loading import check_bounds, option, shown, updated_from
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
    """The same for all series of a run; checked when it is made.

    Raises
    ------
    SettingsError
        If a value is out of bounds, or two contradict each other.
    """

    series_uids: tuple[str, ...] = option(
        (),
        "SeriesInstanceUID of a series to denoise, in place of the rules; repeatable.",
        group=INPUT,
        flag="--series",
        inputs=_DICOM,
    )
    selection_rules: Path | None = option(
        None,
        "File with the rules that choose series, relative to app.yaml; by default those of the model.",
        group=INPUT,
        inputs=_DICOM,
    )
    refuse_gaps: bool = option(
        False,
        "Refuse a series of which slices are missing or unevenly spaced; otherwise its even parts are denoised apart.",
        group=INPUT,
        flag="--refuse-gaps",
        inputs=_DICOM,
    )
    modality: Modality | None = option(
        None,
        "What a volume file holds; MR: magnitudes. DICOM files say it themselves.",
        choices=tuple(Modality),
        group=INPUT,
        flag="--modality",
        in_app_yaml=False,
        inputs=_FILES,
    )
    mask: Path | None = option(
        None,
        "Volume file of the same grid; where it is 0, voxels take no part and come back as they are.",
        group=INPUT,
        flag="--mask",
        metavar="FILE",
        in_app_yaml=False,
        inputs=_FILES,
    )
    strict: bool = option(False, "Begin no series after one has failed.", group=INPUT, flag="--strict", inputs=_DICOM)

    preset: str | None = option(
        None,
        "Settings of the method to start from; default if none is named.",
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
        "Seed of weights and crops: 0 or more; that of the settings if none is given.",
        group=METHOD,
        flag="--seed",
    )
    strength: float | None = option(
        None,
        "How much of the noise to remove: 0 (none) to 1; that of the settings if none is given.",
        at_least=0,
        at_most=1,
        group=METHOD,
        flag="--strength",
    )
    budget_s: float | None = option(
        None,
        "End the fits early, so that a series takes about so long.",
        unit="s",
        above=0,
        group=METHOD,
        flag="--budget",
        metavar="SECONDS",
    )
    device: str = option("auto", "Where to compute.", choices=("auto", "cpu", "cuda"), group=METHOD, flag="--device")

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
        "How the pixels of the new series are stored; all without loss.",
        choices=("none", "rle", "jpeg-ls", "jpeg-2000"),
        group=OUTPUT,
        flag="--compress",
        inputs=_DICOM,
    )
    residual: bool = option(
        False,
        "Write what was removed, too: NAME_residual, beside the new file and of its format.",
        group=OUTPUT,
        flag="--residual",
        in_app_yaml=False,
        inputs=_FILES,
    )
    noise_map: bool = option(
        False,
        "Write the local standard deviation of the noise, too: NAME_noise-sd, beside the new file and of its format.",
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
        "Write a series too of which the structure check says that anatomy was removed.",
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
        "Write viewer.html beside the report: before, after and removed, slice by slice, in one page for a browser.",
        group=REPORT,
        flag="--viewer",
        inputs=_DICOM,
    )
    parametric_map: bool = option(
        False,
        "Write the removed noise, and the contrast kept of faint discs, as DICOM Parametric Maps, a series each.",
        group=REPORT,
        flag="--parametric-map",
        inputs=_DICOM,
    )
    structured_report: bool = option(
        False,
        "Write the measurements as a DICOM Structured Report, a series of its own.",
        group=REPORT, flag="--structured-report", inputs=_DICOM,
    )  # fmt: skip

    def __post_init__(self) -> None:
        """Let those check the values that use them later."""
        check_bounds(self)
        if self.viewer and not self.report:
            raise SettingsError("viewer needs the report, which it lies beside; report is false. Leave one out.")
        self.settings()
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
        """Return the settings of the method: those of the preset, with what differs.

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

    def denoise(self, stack: SliceStack, **keywords: Any) -> DenoiseResult:
        """Denoise a stack as the options say; PyTorch is loaded here. ``progress`` as of `nsn2n.denoise`."""
        from nsn2n.denoising import denoise_stack

        return denoise_stack(stack, self.settings(), device=self.device, **keywords)

    def derivation(self, description: str) -> Derivation:
        """Say what was done to a series.

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
        """Say how a series is written."""
        from nsn2n.dicom.write.series_writer import WriteOptions

        return WriteOptions(taken_series_numbers=frozenset(taken_series_numbers), compression=self.compression)
