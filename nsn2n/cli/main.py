# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command ``nsn2n``: denoise folders, files or many series, view results, follow an archive, run the demonstration.

Results go to stdout, everything else to stderr. PyTorch is imported only when there is a volume to denoise.
"""

from __future__ import annotations

import atexit
import gc
import io
import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from nsn2n._version import __version__
from nsn2n.cli.node import run_node, with_node_options
from nsn2n.cli.options import job_options, refuse_options_of_other_inputs, with_job_options
from nsn2n.cli.signals import heeded_signals
from nsn2n.errors import NSN2NError
from nsn2n.files import FILE_SUFFIXES, format_of
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import ALL_FAILED, conclude
from nsn2n.modality import names_of_all
from nsn2n.runtime.logs import configure_logging, safe_traceback
from nsn2n.runtime.paths import require_possible_path
from nsn2n.runtime.platforms import require_linux

__all__ = ["main"]

logger = logging.getLogger(__name__)

app = typer.Typer(
    name="nsn2n",
    help=f"Denoise {names_of_all('and')} volumes, each by a network fitted to that volume alone (NS-N2N). "
    "For research only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

Traceback = Annotated[
    bool, typer.Option("--traceback", envvar="NSN2N_TRACEBACK", help="Show the traceback of an error.")
]


def main() -> None:
    """Run the command line of this process."""
    # Characters that the encoding of stdout or stderr lacks are written as escapes.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # MONAI, whose U-Net the preset paper fits, imports all packages in its namespace, even Holoscan, not used here.
    warnings.filterwarnings("ignore", message="Current stack size", category=RuntimeWarning)
    # At exit nothing is left to collect, and looking through PyTorch's objects for it takes 0.3 s.
    atexit.register(gc.freeze)
    with heeded_signals():
        app()


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
@with_job_options
def denoise(
    source: Annotated[
        Path | None,
        typer.Argument(metavar="IN", help="Folder with DICOM files, or a volume file: NIfTI, MGH, NRRD or MetaImage."),
    ] = None,
    target: Annotated[
        Path | None,
        typer.Argument(metavar="OUT", help="Folder for the new series; for a volume file a new file or a folder."),
    ] = None,
    input_path: Annotated[Path | None, typer.Option("--input", "-i", metavar="IN", help="The same as IN.")] = None,
    output_path: Annotated[Path | None, typer.Option("--output", "-o", metavar="OUT", help="The same as OUT.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done; write nothing.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")] = False,
    traceback: Traceback = False,
    **given: Any,
) -> None:
    """Denoise the CT, MR and PET series of a folder, or one volume file (NIfTI, MGH, NRRD, MetaImage).

    Prints the path of each new series or file. Exits with 0 if all went well, 3 if some series failed, 1 if all
    failed or there was nothing to do.
    """
    source, target = _in_and_out(source, target, input_path, output_path)
    configure_logging("WARNING" if quiet else "INFO")
    with _reported(traceback):
        options = job_options(given)
        require_possible_path(source)
        if source.is_dir() or not (source.is_file() or source.name.endswith(FILE_SUFFIXES)):
            refuse_options_of_other_inputs(given, "DICOM", f"the folder {source}")
            if dry_run:
                from nsn2n.cli.dry_run import plan_folder

                raise typer.Exit(plan_folder(source, target, options))
            raise typer.Exit(_denoise_folder(source, target, options, quiet))
        refuse_options_of_other_inputs(given, "volume files", f"the {format_of(source) or 'volume'} file {source.name}")
        if dry_run:
            from nsn2n.cli.dry_run import plan_file

            raise typer.Exit(plan_file(source, target, options))
        _denoise_file(source, target, options, quiet)


def _in_and_out(
    source: Path | None, target: Path | None, input_path: Path | None, output_path: Path | None
) -> tuple[Path, Path]:
    """Return IN and OUT, each given as an argument or as an option."""
    by_place = [path for path in (source, target) if path is not None]
    found = [given or (by_place.pop(0) if by_place else None) for given in (input_path, output_path)]
    if found[0] is None or found[1] is None or by_place:
        raise typer.BadParameter("IN and OUT must be given, each once: nsn2n denoise IN OUT, or -i IN -o OUT.")
    return found[0], found[1]


@app.command()
@with_job_options
def batch(
    source: Annotated[
        str, typer.Argument(metavar="IN", help="Folder, CSV file that lists folders, or URL of a DICOMweb query.")
    ],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Folder for ledger, reports and new series.")],
    address: Annotated[
        str | None, typer.Option(help="Ray cluster: auto, host:port or ray://host:10001; by default this machine.")
    ] = None,
    num_cpus: Annotated[int | None, typer.Option(min=1, help="Processors per series; 2 by default.")] = None,
    num_gpus: Annotated[
        float | None, typer.Option(min=0, help="GPUs per series, or a fraction of one, such as 0.25.")
    ] = None,
    max_retries: Annotated[int, typer.Option(min=0, help="How many times to restart a series whose worker died.")] = 2,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Retry series that failed before.")] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Process part I of N; by default as set by Slurm or Kubernetes.")
    ] = None,
    status: Annotated[bool, typer.Option("--status", help="Print the status of each series; start nothing.")] = False,
    dashboard: Annotated[bool, typer.Option("--dashboard", help="Start Ray's dashboard on this machine.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Show warnings and errors only.")] = False,
    traceback: Traceback = False,
    **given: Any,
) -> None:
    """Denoise many series, on this machine or on a Ray cluster; an interrupted run is resumed.

    Prints a table with the status of each series. Exits with 0 if all are done, 3 if some are not, 1 if none is.
    """
    configure_logging("WARNING" if quiet else "INFO")
    with _reported(traceback):
        require_linux("nsn2n batch")
        from nsn2n.cli.batch import BatchOptions, print_status, run_batch

        if status:
            print_status(target)
            raise typer.Exit
        options = job_options(given)
        refuse_options_of_other_inputs(given, "DICOM", "a batch of DICOM series")
        how = BatchOptions(
            address=address, num_cpus=num_cpus, num_gpus=num_gpus, max_retries=max_retries,
            retry_failed=retry_failed, shard=shard, dashboard=dashboard,
        )  # fmt: skip
        raise typer.Exit(run_batch(source, target, options, how, quiet))


@app.command()
def info(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Folder with DICOM files.")],
    traceback: Traceback = False,
) -> None:
    """List the DICOM series of a folder: which would be denoised, and why the others would not.

    Only headers are read. If stdout is not a terminal: one line per series, fields separated by tabs.
    """
    configure_logging("WARNING")
    with _reported(traceback):
        from nsn2n.cli.series_table import list_series, print_series

        print_series(list_series(folder))


@app.command()
def view(
    output: Annotated[Path, typer.Argument(metavar="OUT", help="Output folder of a run with --viewer.")],
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the pages, or only print them.")] = True,
    traceback: Traceback = False,
) -> None:
    """View a result in the browser: before, after and removed, slice by slice.

    Prints the path of each page; docs/viewer.md lists the keyboard shortcuts.
    """
    configure_logging("WARNING")
    with _reported(traceback):
        from nsn2n.cli.view import find_viewers, open_viewers

        viewers = find_viewers(output)
        for viewer in viewers:
            typer.echo(str(viewer))
        if browser:
            open_viewers(viewers)


@app.command()
@with_node_options
def node(traceback: Traceback = False, **given: Any) -> None:
    """Follow an Orthanc: denoise what arrives, send it back, and forward it.

    Runs until it is stopped. docs/node.md explains the setup.
    """
    configure_logging("INFO")
    with _reported(traceback):
        require_linux("nsn2n node")
        run_node(given)


@app.command()
def mercure(
    source: Annotated[
        Path, typer.Argument(metavar="IN", envvar="MERCURE_IN_DIR", help="Folder with images and task.json.")
    ],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", envvar="MERCURE_OUT_DIR", help="Folder for new images and result.json.")
    ],
    traceback: Traceback = False,
) -> None:
    """Process a task of mercure, as its container does; see docs/mercure.md."""
    configure_logging("INFO")
    with _reported(traceback):
        from nsn2n.jobs.mercure_job import run_mercure_task

        raise typer.Exit(run_mercure_task(source, target))


@app.command()
def demo(
    output: Annotated[Path, typer.Option(help="Folder for the files of the demonstration.")] = Path("out/demo"),
    seed: Annotated[int, typer.Option(min=0, help="Seed of the phantom's noise and of the fit.")] = 0,
    traceback: Traceback = False,
) -> None:
    """Denoise a synthetic low-dose CT series with the application, and compare with the known truth."""
    configure_logging("INFO")
    with _reported(traceback):
        require_linux("nsn2n demo, which runs the application,")
        from nsn2n.cli.demo import run_demo

        typer.echo(str(run_demo(output, seed=seed)))


@contextmanager
def _reported(traceback: bool) -> Iterator[None]:
    """Turn an error that the user can act on into one line and an exit code."""
    try:
        yield
    except NSN2NError as error:
        if traceback:
            sys.stderr.write(safe_traceback(error))
        logger.error("%s", error)
        raise typer.Exit(ALL_FAILED) from error
    except OSError as error:
        # stdout cannot be written to: a full disk, or a reader that has exited. The files themselves are complete.
        reason = error.strerror or type(error).__name__
        logger.error(
            "stdout must accept the paths of the new series; got %s. The new files are complete, in OUT.", reason
        )
        raise typer.Exit(ALL_FAILED) from error


def _denoise_folder(source: Path, target: Path, options: JobOptions, quiet: bool) -> int:
    """Denoise the series of a folder and return the exit code."""
    require_possible_path(target)
    if source.is_dir():
        logger.info("nsn2n %s looks for DICOM series", __version__)  # imports and reading take a while
    from nsn2n.cli.progress import show_progress
    from nsn2n.jobs.dicom_job import denoise_folder

    with show_progress(quiet=quiet) as progress:
        outcomes = denoise_folder(
            source,
            target,
            options,
            progress=lambda record, fraction, seconds_left: progress(
                f"{record.Modality} series {record.SeriesNumber}", fraction, seconds_left
            ),
            on_written=lambda written: typer.echo(str(written.folder)),
        )
    written = [outcome.written for outcome in outcomes if outcome.written is not None]
    failures = [outcome.record.label for outcome in outcomes if outcome.error is not None]
    return conclude(len(outcomes), len(written), failures, len(outcomes) - len(written) - len(failures))


def _denoise_file(source: Path, target: Path, options: JobOptions, quiet: bool) -> None:
    from nsn2n.cli.progress import show_progress
    from nsn2n.jobs.volume_file_job import denoise_volume_file

    with show_progress(quiet=quiet) as progress:
        new_file = denoise_volume_file(
            source,
            target,
            options,
            progress=lambda fraction, seconds_left: progress(source.name, fraction, seconds_left),
        )
    typer.echo(str(new_file))
