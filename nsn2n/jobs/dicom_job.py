# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The steps from the series of a folder to denoised series, and the run that performs them all.

Each step is written here, once: the command line performs them in sequence in :func:`denoise_folder`, and each
operator of the application performs one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n._aliases import Float32Array, Progress
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.read.series_reader import SeriesVolume, read_series
from nsn2n.dicom.selection.rules import Rules, Selection, default_rules, load_rules, select_series
from nsn2n.dicom.selection.scan import SeriesRecord, scan_folder
from nsn2n.dicom.write.series_writer import WrittenSeries, write_series
from nsn2n.errors import DicomError, NSN2NError
from nsn2n.jobs.companions import write_companions
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import JobOutcomes, series_errors
from nsn2n.jobs.report_output import write_quality_report
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.stack.slice_stack import SliceStack
from nsn2n.structure_check import raise_on_failed_check

if TYPE_CHECKING:
    from nsn2n.report import ReportData
    from nsn2n.result import DenoiseResult

__all__ = [
    "DenoisedSeries",
    "Outcome",
    "choose_series",
    "denoise_folder",
    "denoise_record",
    "denoise_series",
    "load_series",
    "series_numbers_by_study",
    "write_denoised",
]

logger = logging.getLogger(__name__)

Denoise = Callable[..., "DenoiseResult"]
"""Takes a `SliceStack` and the keyword ``progress``; `JobOptions.denoise`, or `nsn2n.denoise` with its settings."""

SeriesProgress = Callable[[SeriesRecord, float, float], None]
"""Takes the series in progress, the fraction of it that is done, and the seconds left."""


@dataclass(frozen=True, eq=False)
class DenoisedSeries:
    """The denoised volume of a series, before it is written."""

    values: Float32Array
    """Shape (D, H, W), in the unit of the source."""
    record: Mapping[str, Any]
    """`DenoiseResult.record` and its ``summary``: plain values."""
    report: ReportData | None
    """What a quality report shows; None unless it was asked for."""


@dataclass(frozen=True)
class Outcome:
    """The outcome of one selected series: `written` or `error` is set, neither if it was not tried."""

    record: SeriesRecord
    written: WrittenSeries | None = None
    error: NSN2NError | None = None


def choose_series(
    folder: Path | str | None,
    rules: Rules | Path | str | None = None,
    series_uids: Sequence[str] = (),
    limits: Limits | None = None,
) -> Selection:
    """Select the series of a folder to denoise, and log why the others are not.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders.
    rules : Rules, path of a JSON file or JSON text, optional
        By default those of the model bundle.
    series_uids : sequence of str, optional
        Exactly these series, instead of those that the rules choose.
    limits : Limits, optional
        What the folder may hold.

    Raises
    ------
    DicomError
        If there is no folder or no DICOM in it, a named series is missing, or no series is selected.
    SettingsError
        If the rules are invalid.
    """
    if folder is None:
        raise DicomError("the selection needs a folder; got none. Pass input_folder, or connect that port.")
    if not isinstance(rules, Rules):
        rules = default_rules() if rules is None else load_rules(rules)
    selection = select_series(scan_folder(folder, limits), rules, series_uids)
    for alone in selection.left_alone:
        logger.info("%s", alone.reason)
    if not selection.selected:
        reasons = "; ".join(alone.reason for alone in selection.left_alone)
        raise DicomError(
            f"at least one series of {folder} must be suitable for denoising; none of {len(selection.left_alone)} is"
            f" ({reasons}). Name one by its UID, or adapt the rules."
        )
    return selection


def series_numbers_by_study(selection: Selection) -> dict[str, set[int]]:
    """Return the series numbers in use, which no derived series of the study may take."""
    records = [record for _, record in selection.selected] + [record for record, _ in selection.left_alone]
    numbers: dict[str, set[int]] = {}
    for record in records:
        of_study = numbers.setdefault(record.StudyInstanceUID, set())
        if record.SeriesNumber is not None:
            of_study.add(record.SeriesNumber)
    return numbers


def load_series(files: Sequence[Path | str], *, refuse_gaps: bool = False) -> SeriesVolume:
    """Read the files of a series as a volume; errors as for `nsn2n.dicom.read.series_reader.read_series`."""
    return read_series([Path(file) for file in files], refuse_gaps=refuse_gaps)


def denoise_series(
    stack: SliceStack,
    denoise: Denoise,
    label: str,
    *,
    report: bool,
    viewer: bool = False,
    progress: Progress | None = None,
) -> DenoisedSeries:
    """Denoise the volume of a series.

    Parameters
    ----------
    stack : SliceStack
    denoise : callable
    label : str
        Name of the series in messages.
    report : bool
        Collect the data of a quality report.
    viewer : bool
        Also collect the volumes of its viewer.
    progress : callable, optional
        Called with the fraction done and the seconds left.

    Raises
    ------
    VolumeError, SettingsError
        As for `nsn2n.denoise`.
    """
    result = denoise(stack, progress=progress)
    summary = result.summary()
    logger.info("%s: %s", label, summary)
    data = None
    if report:
        from nsn2n.report import collect_report  # imports the plotting libraries

        data = collect_report(stack, result, viewer=viewer)
    return DenoisedSeries(result.volume, {**result.record, "summary": summary}, data)


def write_denoised(
    values_dhw: Float32Array,
    record: Mapping[str, Any],
    source_files: Sequence[Path | str],
    output_folder: Path,
    options: JobOptions,
    series_numbers: set[int],
    label: str,
) -> WrittenSeries:
    """Write a volume as a series derived from its source, together with the objects requested by the options.

    Parameters
    ----------
    values_dhw : ndarray, shape (D, H, W)
    record : mapping
        As `DenoisedSeries` has it; ``summary`` describes the new series in its header.
    source_files : sequence of path
        The source of each slice, in order.
    output_folder : path
        Created if absent.
    options : JobOptions
    series_numbers : set of int
        Numbers in use in the study; those of the new series are added.
    label : str
        Name of the series in messages.

    Raises
    ------
    VolumeError
        If the structure check finds that anatomy was removed, or the values do not fit the source.
    DicomError
        As for `nsn2n.dicom.write.series_writer.write_series`.
    """
    raise_on_failed_check(record.get("structure", {}), force=options.force)
    written = write_series(
        values_dhw,
        source_files,
        output_folder,
        options.derivation(record["summary"]),
        options=options.write_options(series_numbers),
    )
    logger.info(
        "%s: written as series %d, %d files in %s", label, written.SeriesNumber, len(written.files), written.folder
    )
    series_numbers.add(written.SeriesNumber)
    beside = write_companions(output_folder, written, source_files, record, options, series_numbers)
    series_numbers.update(companion.SeriesNumber for companion in beside)
    return written


def denoise_folder(
    input_folder: Path | str,
    output_folder: Path | str,
    options: JobOptions | None = None,
    *,
    denoise: Denoise | None = None,
    rules: Rules | Path | str | None = None,
    taken_series_numbers: Collection[int] = (),
    progress: SeriesProgress | None = None,
    on_written: Callable[[WrittenSeries], None] | None = None,
) -> list[Outcome]:
    """Denoise every selected series of a folder and write the derived ones.

    Parameters
    ----------
    input_folder : path
        Searched with all its subfolders.
    output_folder : path
        Created if absent; each derived series goes into a subfolder named by its UID.
    options : JobOptions, optional
    denoise : callable, optional
        Used instead of `JobOptions.denoise`.
    rules : Rules, path of a JSON file or JSON text, optional
        By default those named in the options, else those of the model bundle.
    taken_series_numbers : collection of int
        Numbers that series of the studies have elsewhere; no new series is given one of them.
    progress : callable, optional
        Called with the series, the fraction of it that is done, and the seconds left for it.
    on_written : callable, optional
        Called with each series when it and its companion objects are complete.

    Returns
    -------
    list of Outcome
        One for each selected series, in the order of the scan. A series that fails is logged as an error and
        leaves nothing in `output_folder`.

    Raises
    ------
    DicomError
        If the input holds no series to denoise, or a named series is missing.
    NSN2NError
        If the output cannot be created as a folder.
    """
    output, options = Path(output_folder), options or JobOptions()
    selection = choose_series(input_folder, rules or options.selection_rules, options.series_uids)
    require_writable_folder(output)
    numbers = series_numbers_by_study(selection)
    job = JobOutcomes(strict=options.strict)
    outcomes: list[Outcome] = []
    for _, record in selection.selected:
        if not job.should_continue():
            outcomes.append(Outcome(record))
            continue
        logger.info("%s: %d files", record.label, len(record.files))
        errors: list[NSN2NError] = []

        def note(label: str, error: NSN2NError, errors: list[NSN2NError] = errors) -> None:
            errors.append(error)
            job.failed(label, error)

        written = None
        with series_errors(record.label, note):
            of_study = numbers[record.StudyInstanceUID]
            of_study.update(taken_series_numbers)
            written = denoise_record(record, output, options, denoise or options.denoise, of_study, progress)
        outcomes.append(Outcome(record, written, errors[0] if errors else None))
        if written is not None and on_written is not None:
            on_written(written)
    return outcomes


def denoise_record(
    record: SeriesRecord,
    output: Path,
    options: JobOptions,
    denoise: Denoise,
    series_numbers: set[int],
    progress: SeriesProgress | None = None,
) -> WrittenSeries:
    """Run all steps on one series, from its files to the new series with its companion objects.

    Parameters
    ----------
    record : SeriesRecord
    output : path
        Created if absent; the new series goes into a subfolder named by its UID.
    options : JobOptions
    denoise : callable
    series_numbers : set of int
        Numbers in use in the study; those of the new series are added.
    progress : callable, optional
        Called with the series, the fraction of it that is done, and the seconds left for it.

    Raises
    ------
    NSN2NError
        As for the steps.
    """
    tell = partial(progress, record) if progress is not None else None
    with options.within_memory():
        series = load_series(record.files, refuse_gaps=options.refuse_gaps)
        made = denoise_series(
            series.stack, denoise, record.label, report=options.report, viewer=options.viewer, progress=tell
        )
        written = write_denoised(made.values, made.record, series.files, output, options, series_numbers, record.label)
        if made.report is not None:
            write_quality_report(output, made.report, written, record.SeriesInstanceUID)
    return written
