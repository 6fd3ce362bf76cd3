# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``nsn2n``: denoise a folder or a file, look at a folder, run the demonstration.

Results go to stdout, everything else to stderr. PyTorch is loaded when a volume is there to be denoised.
"""

from __future__ import annotations

import enum
import logging
import signal
import traceback as tracebacks
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from nsn2n._version import __version__
from nsn2n.app.report import ALL_FAILED, conclude_failures, configure_logging
from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.runtime.openmp import share_processors
from nsn2n.settings import PRESETS, Settings, preset

if TYPE_CHECKING:
    from nsn2n.denoising import DenoiseResult
    from nsn2n.jobs.options import OutputOptions

__all__ = ["main"]

logger = logging.getLogger(__name__)

_DICOM_ONLY = (
    "series",
    "compress",
    "series_description_suffix",
    "series_number_offset",
    "research_mark",
    "refuse_gaps",
    "report",
    "parametric_map",
    "structured_report",
    "strict",
)
"""Parameters of `denoise` that mean nothing to a NIfTI file."""

INTERRUPTED, TERMINATED = 130, 143
"""Exit codes after Ctrl-C and SIGTERM, as shells have them: 128 and the number of the signal."""

app = typer.Typer(
    name="nsn2n",
    help="Denoise CT, MR and PET volumes, each by a network fitted to that volume alone (NS-N2N). For research only.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


class Device(str, enum.Enum):
    """Where to compute."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


class Compression(str, enum.Enum):
    """The keys of `nsn2n.dicom.pixels.lossless.ENCODINGS`; a test keeps them equal."""

    NONE = "none"
    RLE = "rle"
    JPEG_LS = "jpeg-ls"
    JPEG_2000 = "jpeg-2000"


class Modality(str, enum.Enum):
    """What a file without such a field holds."""

    CT = "CT"
    MR = "MR"
    PT = "PT"


Traceback = Annotated[
    bool, typer.Option("--traceback", envvar="NSN2N_TRACEBACK", help="Show where in the program an error arose.")
]


def main() -> None:
    """Run the command line of this process."""
    share_processors()
    signal.signal(signal.SIGTERM, _terminate)
    app()


def _terminate(number: int, frame: object) -> None:
    """End as after Ctrl-C: what is not complete is removed on the way out."""
    logger.warning("stopped by SIGTERM; the series in work was not written")
    raise SystemExit(TERMINATED)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"nsn2n {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


@app.command()
def denoise(
    context: typer.Context,
    source: Annotated[Path, typer.Argument(metavar="IN", help="Folder with DICOM files, or a .nii or .nii.gz file.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help="Folder for the new series; for NIfTI a new file or a folder.")
    ],
    preset_name: Annotated[
        str | None,
        typer.Option("--preset", help=f"Settings to start from: {', '.join(PRESETS)}.", show_default="default"),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of weights and crops: 0 or more.", show_default="0")] = None,
    strength: Annotated[
        float | None, typer.Option(help="How much of the noise to remove: 0 (none) to 1.", show_default="1")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="End the fits early, so that a series takes about so long.")
    ] = None,
    device: Annotated[Device, typer.Option(help="Where to compute.")] = Device.AUTO,
    series: Annotated[
        list[str] | None,
        typer.Option(help="SeriesInstanceUID of a series to denoise, in place of the rules; repeatable."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="YAML or JSON file of settings that differ.")] = None,
    modality: Annotated[
        Modality | None, typer.Option(help="What a NIfTI file holds; MR: magnitudes. DICOM files say it themselves.")
    ] = None,
    compress: Annotated[
        Compression, typer.Option(help="How the pixels of the new series are stored; all without loss.")
    ] = Compression.NONE,
    series_description_suffix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="After the source's SeriesDescription.", show_default="denoised")
    ] = None,
    series_number_offset: Annotated[
        int | None, typer.Option(help="Added to the source's SeriesNumber.", show_default="1000")
    ] = None,
    research_mark: Annotated[
        bool, typer.Option("--research-mark", help="Mark the new series as for research only.")
    ] = False,
    refuse_gaps: Annotated[
        bool, typer.Option("--refuse-gaps", help="Refuse a series with gaps; otherwise its parts are denoised apart.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Write what the structure check refuses, too.")] = False,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="Write a quality report for each new series.")
    ] = True,
    parametric_map: Annotated[
        bool, typer.Option("--parametric-map", help="Write the removed noise as a DICOM Parametric Map, too.")
    ] = False,
    structured_report: Annotated[
        bool, typer.Option("--structured-report", help="Write the measurements as a DICOM Structured Report, too.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Stop at the first series that fails.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")] = False,
    traceback: Traceback = False,
) -> None:
    """Denoise the CT, MR and PET series of a folder, or one NIfTI file.

    Prints the path of each new series or file. Exits with 0 if all went well, 3 if some series failed, 1 if all
    did or there was nothing to do.
    """
    configure_logging("WARNING" if quiet else "INFO")
    with _reported(traceback):
        settings = _settings(preset_name, config, seed=seed, strength=strength, budget_s=budget)
        run = _with_settings(settings, device)
        if source.is_dir() or not (source.is_file() or source.name.endswith((".nii", ".nii.gz"))):
            if modality is not None:
                raise SettingsError("--modality is for NIfTI files; DICOM files say what they hold. Leave it out.")
            options = _output_options(
                compression=compress.value,
                series_description_suffix=series_description_suffix,
                series_number_offset=series_number_offset,
                research_mark=research_mark,
                force=force,
                report=report,
                parametric_map=parametric_map,
                structured_report=structured_report,
            )
            uids = tuple(series or ())
            if dry_run:
                from nsn2n.cli.dry_run import plan_folder

                raise typer.Exit(plan_folder(source, target, settings, options, uids, refuse_gaps=refuse_gaps))
            raise typer.Exit(_denoise_series(source, target, run, uids, options, strict, refuse_gaps, quiet))
        _require_no_option_of_dicom(context, source)
        if dry_run:
            from nsn2n.cli.dry_run import plan_file

            raise typer.Exit(plan_file(source, target, settings))
        _denoise_file(source, target, partial(run, modality=modality.value) if modality else run, force, quiet)


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with DICOM files.")],
    traceback: Traceback = False,
) -> None:
    """List the DICOM series of a folder: which would be denoised, and why the others would not.

    Only headers are read. Away from a terminal: one line per series, fields separated by tabs.
    """
    configure_logging("WARNING")
    with _reported(traceback):
        from nsn2n.cli.series_table import list_series, print_series

        print_series(list_series(folder))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for what the demonstration makes.")] = Path("out/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Of the phantom's noise and of the fit.")] = 0,
    traceback: Traceback = False,
) -> None:
    """Denoise a synthetic low-dose CT series with the application, and compare with the known truth."""
    configure_logging("INFO")
    with _reported(traceback):
        from nsn2n.cli.demo import run_demo

        typer.echo(str(run_demo(output, seed=seed)))


@contextmanager
def _reported(traceback: bool) -> Iterator[None]:
    """Turn an error that the user can act on into one line and an exit code, and Ctrl-C into its own."""
    try:
        yield
    except NSN2NError as error:
        if traceback:
            tracebacks.print_exception(error)
        logger.error("%s", error)
        raise typer.Exit(ALL_FAILED) from error
    except KeyboardInterrupt:
        logger.warning("interrupted; the series in work was not written")
        raise typer.Exit(INTERRUPTED) from None


def _require_no_option_of_dicom(context: typer.Context, source: Path) -> None:
    """Refuse what was asked for and cannot be done with a NIfTI file."""
    given = []
    for option in context.command.params:
        named = context.get_parameter_source(option.name or "")
        if option.name in _DICOM_ONLY and named is not None and named.name != "DEFAULT":
            off = context.params[option.name] is False and option.secondary_opts
            given.append((option.secondary_opts if off else option.opts)[0])
    if given:
        one = len(given) == 1
        raise SettingsError(
            f"{', '.join(given)} {'is' if one else 'are'} for DICOM series; got the NIfTI file {source.name}. "
            f"Leave {'it' if one else 'them'} out."
        )


def _settings(preset_name: str | None, config: Path | None, **options: Any) -> Settings:
    """Settings of preset, file and options, checked before anything else is done."""
    mapping = _read_config(config) if config else {}
    in_file = mapping.get("preset")
    if preset_name is not None and in_file is not None and preset_name != in_file:
        raise SettingsError(f"--preset {preset_name} and preset {in_file!r} in {config} must agree. Leave one out.")
    base = None if in_file is not None else preset(preset_name or "default")
    given = {name: value for name, value in options.items() if value is not None}
    return Settings.from_mapping({**mapping, **given}, base)


def _read_config(file: Path) -> Mapping[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))  # JSON is YAML too
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"--config must name a readable YAML or JSON file; got {reason}. Correct it.") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{file} must hold a mapping of settings; it holds a {type(content).__name__}.")
    return content


def _with_settings(settings: Settings, device: Device) -> Callable[..., DenoiseResult]:
    """`nsn2n.denoise` with settings; it loads PyTorch when it is called first."""

    def run(volume_dhw: Any, **keywords: Any) -> DenoiseResult:
        # The U-Net is that of MONAI, which imports all under its name: Holoscan too, which is not used here.
        warnings.filterwarnings("ignore", message="Current stack size", category=RuntimeWarning)
        from nsn2n.denoising import denoise as denoise_volume

        return denoise_volume(volume_dhw, config=settings.to_mapping(), device=device.value, **keywords)

    return run


def _denoise_series(
    source: Path,
    target: Path,
    run: Callable[..., DenoiseResult],
    series_uids: tuple[str, ...],
    options: OutputOptions,
    strict: bool,
    refuse_gaps: bool,
    quiet: bool,
) -> int:
    """Denoise the series of a folder and give the exit code."""
    from nsn2n.cli.progress import show_progress
    from nsn2n.jobs.dicom_job import denoise_folder

    with show_progress(quiet=quiet) as progress:
        outcomes = denoise_folder(
            source,
            target,
            run,
            series_uids=series_uids,
            options=options,
            strict=strict,
            refuse_gaps=refuse_gaps,
            progress=lambda record, fraction, seconds_left: progress(
                f"{record.Modality} series {record.SeriesNumber}", fraction, seconds_left
            ),
        )
    written = [outcome.written for outcome in outcomes if outcome.written is not None]
    for result in written:
        typer.echo(str(result.folder))
    failures = [outcome.record.label for outcome in outcomes if outcome.error is not None]
    if failures:
        code: int = conclude_failures(len(outcomes), len(written), failures)
        return code
    return 0


def _output_options(**options: Any) -> OutputOptions:
    """What differs from the defaults."""
    from nsn2n.jobs.options import OutputOptions

    return OutputOptions(**{name: value for name, value in options.items() if value is not None})


def _denoise_file(source: Path, target: Path, run: Callable[..., DenoiseResult], force: bool, quiet: bool) -> None:
    from nsn2n.cli.progress import show_progress
    from nsn2n.jobs.nifti_job import denoise_nifti

    with show_progress(quiet=quiet) as progress:
        new_file = denoise_nifti(
            source,
            target,
            run,
            force=force,
            progress=lambda fraction, seconds_left: progress(source.name, fraction, seconds_left),
        )
    typer.echo(str(new_file))
