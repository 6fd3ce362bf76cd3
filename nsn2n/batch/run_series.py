# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Processes one series, in a worker process, from its source to a folder that is either complete or absent.

Everything of a series - images, companion objects, report and outcome - is written into a hidden folder,
which is renamed in one step. So the folder, if present, is complete, and a run that is killed leaves nothing
that could be mistaken for a result.
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
"""Outcome file in the folder of each finished series."""

_PROC = Path("/proc/self")
_RESET_PEAK = "5"
"""Written to ``clear_refs``: resets the peak to the present memory of the process (proc(5))."""


def finished_before(task: SeriesTask) -> SeriesOutcome | None:
    """Return the outcome of a series whose complete folder exists; None if it does not."""
    try:
        outcome = json.loads((task.folder / OUTCOME_FILE).read_text(encoding="utf-8"))
        return SeriesOutcome(**{**outcome, "remarks": tuple(outcome["remarks"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None


def run_series(task: SeriesTask) -> SeriesOutcome:
    """Denoise one series. For a worker process: messages go into the outcome.

    Returns
    -------
    SeriesOutcome
        With the error if the series cannot be denoised; no files of it are left in that case.
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
            f"all machines of a run must have the same version of nsn2n; got {__version__} on {outcome.host}, and"
            f" {task.version} where the run was started. Install the same on all."
        )
    complete = finished_before(task)
    if complete is not None:
        return complete
    if task.folder.exists():
        raise NSN2NError(
            f"the folder of a series must be complete or absent; {task.folder} has no readable {OUTCOME_FILE}."
            " Move it away, and run again with --retry-failed."
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
                # Another worker, presumed dead, has completed the series in the meantime.
                complete = finished_before(task)
                if complete is None:
                    raise
                return complete
    except OSError as error:
        raise NSN2NError(
            f"the output must be a writable folder with free space; got"
            f" {error.strerror or type(error).__name__} at {study}. Free some space, and run again with --retry-failed."
        ) from error
    return outcome


def _noting(task: SeriesTask, verdicts: list[str]) -> Denoise:
    """The job's denoise, which keeps the verdict: it is reported even if the series is refused because of it."""

    def denoise(stack: SliceStack, **keywords: Any) -> DenoiseResult:
        result = task.options.denoise(stack, **keywords)
        verdicts.append(str(result.record.get("structure", {}).get("verdict", "")))
        return result

    return denoise


def _record(task: SeriesTask, hidden: Path) -> SeriesRecord:
    """Yield the files of the source; those of a server are fetched into the hidden folder, and removed with it."""
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
            f"a DICOMweb server must send the requested series; got {len(found)} series"
            f" [{source.SeriesInstanceUID}]. Check the series on the server."
        )
    return found[0]


@contextmanager
def _collected_warnings() -> Iterator[list[str]]:
    """Collect the job's warnings in a list instead of on stderr, which nobody reads in a worker."""
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
    """Reset the memory peak if the system allows it, since a worker processes several series in turn."""
    with suppress(OSError):
        (_PROC / "clear_refs").write_text(_RESET_PEAK)


def _peak_bytes() -> int:
    """Return the peak memory of the process since then."""
    with suppress(OSError):
        for line in (_PROC / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
