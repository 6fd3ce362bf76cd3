# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The outcomes of the series of a run: a failure affects one series only; the exit code reflects the failures."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from nsn2n.errors import NSN2NError
from nsn2n.runtime.memory import memory_errors

__all__ = ["ALL_FAILED", "SOME_FAILED", "ErrorHandler", "JobOutcomes", "conclude", "series_errors", "warned"]

logger = logging.getLogger(__name__)

ALL_FAILED = 1
SOME_FAILED = 3
"""Exit codes; 0 if all went well, 2 if the command line is invalid."""

_REPORT_IT = "Run again with --traceback (-l DEBUG for the application) and report this."

ErrorHandler = Callable[[str, NSN2NError], None]
"""Takes the label of a series and why it could not be processed."""


@contextmanager
def series_errors(label: str, on_error: ErrorHandler | None) -> Iterator[None]:
    """Pass whatever the block raises to `on_error`, or let it propagate if there is none.

    The rest of the block is skipped, so later steps get nothing of that series, and the run continues with the next
    series.

    Parameters
    ----------
    label : str
        Name of the series in messages.
    on_error : callable, optional
        Called with the label and the error.
    """
    try:
        with memory_errors(label):
            yield
    except NSN2NError as error:
        if on_error is None:
            raise
        on_error(label, error)
    except Exception as error:
        if on_error is None:
            raise
        # Its message may quote a value of the header, so only its type is reported.
        fault = NSN2NError(
            f"a series must be processed without an internal error; got {type(error).__name__}. {_REPORT_IT}"
        )
        fault.__cause__ = error
        on_error(label, fault)


@contextmanager
def warned(what: str) -> Iterator[None]:
    """Turn whatever the block raises into a warning: a complete series matters more than what the block adds to it.

    Parameters
    ----------
    what : str
        What is not written in that case, for the message.
    """
    try:
        with memory_errors(what):
            yield
    except Exception as error:
        reason = str(error) if isinstance(error, NSN2NError) else f"got {type(error).__name__}. {_REPORT_IT}"
        logger.warning("%s The denoised series is complete; %s was not written.", reason, what)


@dataclass
class JobOutcomes:
    """Collects the series that failed, and decides whether to go on."""

    strict: bool = False
    """Start no further series after one has failed."""
    failures: list[str] = field(default_factory=list)
    """Labels of the series."""

    def failed(self, label: str, error: NSN2NError) -> None:
        """Record and log that a series could not be processed."""
        self.failures.append(label)
        logger.error("%s: %s", label, error, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)

    def should_continue(self) -> bool:
        """Whether another series is to be started."""
        return not (self.strict and self.failures)


def conclude(selected: int, written: int, failures: Sequence[str], untried: int = 0) -> int:
    """Log the outcome, with the failures repeated at the end, where they are seen, and return the exit code.

    Parameters
    ----------
    selected, written, untried : int
        Numbers of series; those untried were not started, since one before them failed.
    failures : sequence of str
        Labels of the series that failed.

    Raises
    ------
    NSN2NError
        If a series that was started is neither written nor known to have failed.
    """
    failed, begun = len(failures), selected - untried
    if written + failed != begun:
        raise NSN2NError(
            f"each of the {begun} selected series must be written or refused; {written} were written"
            f" and {failed} refused. Run again with -l DEBUG and report this."
        )
    if not failed:
        logger.info("%d series written", written)
        return 0
    logger.error(
        "%d of %d selected series written, %d failed%s: %s",
        written, selected, failed, f", {untried} not tried" if untried else "", "; ".join(failures),
    )  # fmt: skip
    return SOME_FAILED if written else ALL_FAILED
