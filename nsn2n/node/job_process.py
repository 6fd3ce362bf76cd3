# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Denoises the series of a folder in a separate process: its memory is freed, and a crash affects nothing else.

The process is forked from one that has only imported the libraries, so it starts in a moment.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n.errors import NSN2NError
from nsn2n.jobs.dicom_job import Outcome, denoise_folder
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.logs import ProgressLog, configure_logging

if TYPE_CHECKING:
    from nsn2n.result import DenoiseResult

__all__ = ["JobAnswer", "JobProcess"]

_CONTEXT = multiprocessing.get_context("forkserver")

PRELOADED = ["nsn2n.denoising", "nsn2n.report", "nsn2n.jobs.dicom_job", __name__]
"""Imports of the process from which the others are forked; none of them may touch a GPU."""

_ANSWER = "answer.json"


@dataclass(frozen=True, kw_only=True)
class JobAnswer:
    """The outcome of the series."""

    written: bool
    reason: str = ""
    """Why it was not written."""
    verdict: str = ""
    """Verdict of the structure check; empty if it was not reached."""
    is_fault: bool = False
    """The reason is the program or the machine, not the series: a retry may help."""


class JobProcess:
    """Denoises the only series of a folder.

    Parameters
    ----------
    source, target : path
        Folder with the series, and the folder for the subfolders of the new series.
    options : JobOptions
    taken_series_numbers : collection of int
        Numbers in use in the study.
    longest_s : float
        Time limit, after which it is killed.
    """

    def __init__(
        self,
        source: Path,
        target: Path,
        options: JobOptions,
        taken_series_numbers: Collection[int] = (),
        *,
        longest_s: float,
    ) -> None:
        _CONTEXT.set_forkserver_preload(PRELOADED)
        self._answer_file = source.parent / _ANSWER
        level = logging.getLogger("nsn2n").getEffectiveLevel()
        self._process = _CONTEXT.Process(
            target=_run,
            args=(source, target, options, tuple(taken_series_numbers), self._answer_file, logging.getLevelName(level)),
        )
        self._process.start()
        self._end = time.monotonic() + longest_s
        self._longest_s = longest_s
        self.killed_for = ""

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid or 0

    def wait(self, seconds: float) -> bool:
        """Wait for its end until the timeout; return whether it has ended."""
        wait([self._process.sentinel], seconds)
        if self._process.exitcode is None and time.monotonic() > self._end:
            self.killed_for = f"it took longer than {self._longest_s:g} s"
            self.stop()
        return self._process.exitcode is not None

    def answer(self) -> JobAnswer | None:
        """Return the outcome of an ended process; None if it crashed."""
        if self._process.exitcode != 0 or not self._answer_file.is_file():
            return None
        return JobAnswer(**json.loads(self._answer_file.read_text(encoding="utf-8")))

    def why_it_crashed(self) -> str:
        """Return what is known of the end of a process without an answer."""
        code = self._process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return self.killed_for or f"its process {how}"

    def stop(self) -> None:
        """Kill it if it is still running."""
        if self._process.exitcode is None:
            self._process.kill()
        self._process.join()


def _run(
    source: Path,
    target: Path,
    options: JobOptions,
    taken_series_numbers: Collection[int],
    answer_file: Path,
    log_level: str,
) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is handled by the worker, which ends this process
    threading.Thread(target=_end_with_worker, daemon=True).start()
    configure_logging(log_level)
    answer = _answer(source, target, options, taken_series_numbers)
    answer_file.write_text(json.dumps(asdict(answer)), encoding="utf-8")


def _end_with_worker() -> None:
    """Exit if the worker was killed, which cannot end this process: the next worker would process the series too."""
    worker = multiprocessing.parent_process()
    if worker is not None:
        worker.join()
        os._exit(1)


def _answer(source: Path, target: Path, options: JobOptions, taken_series_numbers: Collection[int]) -> JobAnswer:
    verdicts: list[str] = []
    log = ProgressLog()

    def denoise(*arguments: Any, **keywords: Any) -> DenoiseResult:
        result = options.denoise(*arguments, **keywords)
        verdicts.append(result.structure.verdict)
        return result

    try:
        (outcome,) = denoise_folder(
            source,
            target,
            options,
            denoise=denoise,
            taken_series_numbers=taken_series_numbers,
            progress=lambda record, fraction, seconds_left: log(fraction, seconds_left),
        )
    except NSN2NError as error:
        return JobAnswer(written=False, reason=str(error))
    return JobAnswer(
        written=outcome.written is not None,
        reason="" if outcome.error is None else str(outcome.error),
        verdict=verdicts[-1] if verdicts else "",
        is_fault=_is_fault(outcome),
    )


def _is_fault(outcome: Outcome) -> bool:
    """Whether a series failed for lack of memory or disk space, or by an internal error."""
    error = outcome.error
    return type(error) is NSN2NError or isinstance(getattr(error, "__cause__", None), (MemoryError, OSError))
