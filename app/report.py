# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the user is told while the application runs, and how its process ends."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

from nsn2n.errors import NSN2NError

__all__ = ["ALL_FAILED", "SOME_FAILED", "ProgressLog", "RunReport", "conclude_failures", "configure_logging"]

logger = logging.getLogger(__name__)

ALL_FAILED = 1
SOME_FAILED = 3
"""Exit codes; 0 if all went well, 2 if the command line is not understood."""

SECONDS_BETWEEN_PROGRESS = 15.0

FIRST_FRACTION = 0.02
"""What is told of the time left before so much is done would be a guess."""


@dataclass
class RunReport:
    """Collects the series that failed."""

    failures: list[str] = field(default_factory=list)
    """Labels of the series."""

    def failed(self, label: str, error: NSN2NError) -> None:
        """Note and log that a series could not be processed."""
        self.failures.append(label)
        logger.error("%s: %s", label, error, exc_info=error if logger.isEnabledFor(logging.DEBUG) else None)

    def conclude(self, selected: int, written: int, untried: int = 0) -> int:
        """Log the outcome and give the exit code.

        Parameters
        ----------
        selected, written, untried : int
            Numbers of series; those untried were not begun, since one before them failed.

        Raises
        ------
        NSN2NError
            If a series that was begun is neither written nor known to have failed.
        """
        failed = len(self.failures)
        begun = selected - untried
        if written + failed != begun:
            raise NSN2NError(
                f"each of the {begun} selected series must be written or refused; {written} were written"
                f" and {failed} refused. Run again with -l DEBUG and report this."
            )
        if not failed:
            logger.info("%d series written", written)
            return 0
        return conclude_failures(selected, written, self.failures)


def conclude_failures(selected: int, written: int, failures: Sequence[str]) -> int:
    """Log which series failed, once more at the end, where they are seen, and give the exit code.

    Parameters
    ----------
    selected, written : int
        Numbers of series; what is neither written nor failed was not tried.
    failures : sequence of str
        Labels of the series.
    """
    untried = selected - written - len(failures)
    logger.error(
        "%d of %d selected series written, %d failed%s: %s",
        written, selected, len(failures), f", {untried} not tried" if untried else "", "; ".join(failures),
    )  # fmt: skip
    return SOME_FAILED if written else ALL_FAILED


class ProgressLog:
    """Logs how far the denoising of a series is, now and then."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, fraction: float, seconds_left: float) -> None:
        """Take the fraction done, in 0..1, and the seconds left."""
        if fraction >= FIRST_FRACTION and time.monotonic() - self._last_s >= SECONDS_BETWEEN_PROGRESS:
            self._last_s = time.monotonic()
            logger.info("%3.0f %% denoised, about %.0f s left", 100 * fraction, seconds_left)


class _LevelFormatter(logging.Formatter):
    """``error: ...``, ``warning: ...``; messages of lower levels stand alone."""

    def format(self, record: logging.LogRecord) -> str:
        line = super().format(record)
        return f"{record.levelname.lower()}: {line}" if record.levelno >= logging.WARNING else line


def configure_logging(level: str | None) -> None:
    """Send this program's messages to stderr, and warnings of others.

    Others never log below warnings, at no level: the SDK logs headers at INFO and DEBUG, with the patient's
    name. pydicom is silent, since its warnings quote values that it finds wrong, birth dates for example;
    what matters of a file is checked by `nsn2n.dicom`.

    Parameters
    ----------
    level : str, optional
        For this program: DEBUG, INFO (default), WARN, ERROR or CRITICAL.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_LevelFormatter("%(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("nsn2n").setLevel(level or logging.INFO)
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
