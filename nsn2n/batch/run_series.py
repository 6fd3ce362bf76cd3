# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Takes one series, in a worker process, from its source to a folder that is complete or not there.

Everything of a series - images, objects beside them, report, and what became of it - is written into a hidden folder,
which gets its name in one step. So whoever finds the folder finds all of it, and a run that is killed leaves nothing
that could be taken for a result.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n._version import __version__
from nsn2n.batch.dicomweb import fetch_series
from nsn2n.batch.task import RemoteSeries, SeriesOutcome, SeriesTask
from nsn2n.dicom.selection.scan import SeriesRecord, scan_folder
from nsn2n.dicom.write.numbering import numbers_in
from nsn2n.errors import DicomError, NSN2NError
from nsn2n.jobs.dicom_job import Denoise, denoise_record
from nsn2n.jobs.outcomes import series_errors
from nsn2n.runtime.logs import configure_logging, visible
from nsn2n.runtime.unfinished import hidden_folder, remove_abandoned
from nsn2n.stack.slice_stack import SliceStack

if TYPE_CHECKING:
    from nsn2n.result import DenoiseResult

__all__ = ["OUTCOME_FILE", "finished_before", "run_series"]

OUTCOME_FILE = "outcome.json"
"""In the folder of each finished series."""

_PROC = Path("/proc/self")
_RESET_PEAK = "5"
"""Written to ``clear_refs``: the peak becomes what the process has now (proc(5))."""


def finished_before(task: SeriesTask) -> SeriesOutcome | None:
    """Return what became of a series whose complete folder is there; None if it is not."""
    try:
        told = json.loads((task.folder / OUTCOME_FILE).read_text(encoding="utf-8"))
        return SeriesOutcome(**{**told, "remarks": tuple(told["remarks"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def run_series(task: SeriesTask) -> SeriesOutcome:
    """Denoise one series. For a worker process: messages go into the outcome.

    Returns
    -------
    SeriesOutcome
        With the error if the series cannot be denoised; nothing of it is left then.
    """
    started = time.monotonic()
    errors: list[str] = []
    outcome = SeriesOutcome(host=socket.gethostname())
    _reset_peak()
    with _collected_warnings() as remarks:
        verdicts: list[str] = []
        with series_errors(task.series.label, lambda _, error: errors.append(visible(str(error)))):
            outcome = _written(task, outcome, started, remarks, verdicts)
    if errors:
        outcome = replace(
            outcome,
            error=errors[0],
            verdict=verdicts[-1] if verdicts else "",
            seconds=round(time.monotonic() - started, 3),
            peak_bytes=_peak_bytes(),
            remarks=tuple(remarks),
        )
    return outcome


def _written(
    task: SeriesTask, outcome: SeriesOutcome, started: float, remarks: list[str], verdicts: list[str]
) -> SeriesOutcome:
    if task.version != __version__:
        raise NSN2NError(
            f"all machines of a run must have one version of nsn2n; got {__version__} on {outcome.host}, and"
            f" {task.version} where the run was begun. Install the same on all."
        )
    complete = finished_before(task)
    if complete is not None:
        return complete
    if task.folder.exists():
        raise NSN2NError(
            f"the folder of a series must be complete, or not be there; {task.folder} has no {OUTCOME_FILE} that can be"
            " read. Move it away, and run again with --retry-failed."
        )
    study = task.folder.parent
    try:
        study.mkdir(parents=True, exist_ok=True)
        remove_abandoned(study)
        with hidden_folder(study) as hidden:
            record, made = _record(task, hidden), hidden / "made"
            numbers = set(task.taken_series_numbers)
            for folder in study.iterdir():
                if folder.is_dir() and not folder.name.startswith("."):
                    numbers |= numbers_in(folder, task.series.StudyInstanceUID)
            denoise_record(record, made, task.options, _noting(task, verdicts), numbers)
            report = next(made.glob("reports/*/report.html"), None)
            outcome = replace(
                outcome,
                verdict=verdicts[-1],
                seconds=round(time.monotonic() - started, 3),
                peak_bytes=_peak_bytes(),
                remarks=tuple(remarks),
                report="" if report is None else report.relative_to(made).as_posix(),
            )
            (made / OUTCOME_FILE).write_text(json.dumps(asdict(outcome), indent=1) + "\n", encoding="utf-8")
            try:
                made.rename(task.folder)
            except OSError:
                # Another worker, which was thought to be dead, has completed the series meanwhile.
                complete = finished_before(task)
                if complete is None:
                    raise
                return complete
    except OSError as error:
        raise NSN2NError(
            f"the output must be a folder that can be written to and has room; got"
            f" {error.strerror or type(error).__name__} at {study}. Make room, and run again with --retry-failed."
        ) from error
    return outcome


def _noting(task: SeriesTask, verdicts: list[str]) -> Denoise:
    """The job's denoise, of which the verdict is kept: it is told too where the series is refused for it."""

    def denoise(stack: SliceStack, **keywords: Any) -> DenoiseResult:
        result = task.options.denoise(stack, **keywords)
        verdicts.append(str(result.record.get("structure", {}).get("verdict", "")))
        return result

    return denoise


def _record(task: SeriesTask, hidden: Path) -> SeriesRecord:
    """The files of the source; those of a server are fetched into the hidden folder, and go with it."""
    source = task.series.source
    if isinstance(source, SeriesRecord):
        return source
    fetched = hidden / "fetched"
    fetched.mkdir()
    return _fetched(source, fetched)


def _fetched(source: RemoteSeries, folder: Path) -> SeriesRecord:
    fetch_series(source, folder)
    found = scan_folder(folder).series
    if [record.SeriesInstanceUID for record in found] != [source.SeriesInstanceUID]:
        raise DicomError(
            f"a DICOMweb server must send the series that is asked for; got {len(found)} series"
            f" [{source.SeriesInstanceUID}]. Look at the series on the server."
        )
    return found[0]


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Keep the job's warnings in a list, in place of stderr, which in a worker nobody reads."""
    remarks: list[str] = []

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.levelno >= logging.WARNING:
                remarks.append(visible(record.getMessage()))

    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        configure_logging("WARNING", nowhere)
        handler = Collect()
        logging.getLogger("nsn2n").addHandler(handler)
        try:
            yield remarks
        finally:
            logging.getLogger("nsn2n").removeHandler(handler)
            configure_logging("WARNING")


def _reset_peak() -> None:
    """Begin a new peak, where the system allows it: a worker takes one series after the other."""
    with suppress(OSError):
        (_PROC / "clear_refs").write_text(_RESET_PEAK)


def _peak_bytes() -> int:
    """The most memory that the process had since then."""
    with suppress(OSError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
