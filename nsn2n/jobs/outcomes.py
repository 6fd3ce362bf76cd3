# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What became of the series of a run: a failure is that of one series, and the exit code says how many there were."""

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
"""Exit codes; 0 if all went well, 2 if the command line is not understood."""

_REPORT_IT = "Run again with --traceback (-l DEBUG for the application) and report this."

ErrorHandler = Callable[[str, NSN2NError], None]
"""Takes the label of a series and why it could not be processed."""


@contextmanager
def series_errors(label: str, on_error: ErrorHandler | None) -> Iterator[None]:
    """Hand whatever the block raises to `on_error`, or let it pass if there is none.

    The rest of the block is skipped, so what comes after it in the chain gets nothing of that series, and the next
    series goes on.

    Parameters
    ----------
    label : str
        How messages name the series.
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
        # Its message may quote a value of the header, so only its kind is told.
        fault = NSN2NError(f"a series must raise no fault of the program; got {type(error).__name__}. {_REPORT_IT}")
        fault.__cause__ = error
        on_error(label, fault)


@contextmanager
def warned(what: str) -> Iterator[None]:
    """Turn whatever the block raises into a warning: what it adds to a complete series is worth less than that.

    Parameters
    ----------
    what : str
        What is not written then, for the message.
    """
    try:
        with memory_errors(what):
            yield
    except Exception as error:
        told = str(error) if isinstance(error, NSN2NError) else f"got {type(error).__name__}. {_REPORT_IT}"
        logger.warning("%s The denoised series is complete, %s beside it was not written.", told, what)


@dataclass
class JobOutcomes:
    """Collects the series that failed, and says whether to go on."""

    strict: bool = False
    """Begin no series after one has failed."""
    failures: list[str] = field(default_factory=list)
    """Labels of the series."""

    def failed(self, label: str, error: NSN2NError) -> None:
        """Note and log that a series could not be processed."""
        self.failures.append(label)
        logger.error("%s: %s", label, error, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)

    def should_continue(self) -> bool:
        """Whether another series is to be begun."""
        return not (self.strict and self.failures)


def conclude(selected: int, written: int, failures: Sequence[str], untried: int = 0) -> int:
    """Log the outcome, with the failures once more at the end, where they are seen, and give the exit code.

    Parameters
    ----------
    selected, written, untried : int
        Numbers of series; those untried were not begun, since one before them failed.
    failures : sequence of str
        Labels of the series that failed.

    Raises
    ------
    NSN2NError
        If a series that was begun is neither written nor known to have failed.
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
