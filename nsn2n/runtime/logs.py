# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the user is told while the program runs, and what never."""

from __future__ import annotations

import logging
import sys
import time
import warnings

__all__ = ["ProgressLog", "configure_logging"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_PROGRESS = 15.0

FIRST_FRACTION = 0.02
"""What is told of the time left before so much is done would be a guess."""


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
