# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Log output while the program runs, which never contains patient data, whatever its origin.

Messages of other libraries quote values of attributes. They are dropped, or reduced to type and location, where
all messages pass: at the one handler, which no library's import can reset.
"""

from __future__ import annotations

import logging
import sys
import time
import traceback
import warnings
from types import TracebackType
from typing import TextIO

from nsn2n.errors import NSN2NError

__all__ = ["ProgressLog", "configure_logging", "safe_traceback", "visible"]

logger = logging.getLogger(__name__)

SECONDS_BETWEEN_PROGRESS = 15.0

FIRST_FRACTION = 0.02
"""Fraction done before which the time left would be a guess."""

QUOTING = ("pydicom", "highdicom", "monai", "holoscan", "py", "root")
"""Top-level names of loggers whose messages quote values of attributes; ``py.warnings`` has those of `warnings`."""


class ProgressLog:
    """Logs the progress of denoising a series from time to time."""

    def __init__(self) -> None:
        self._last_s = time.monotonic()

    def __call__(self, fraction: float, seconds_left: float) -> None:
        """Take the fraction done, in 0..1, and the seconds left."""
        if fraction >= FIRST_FRACTION and time.monotonic() - self._last_s >= SECONDS_BETWEEN_PROGRESS:
            self._last_s = time.monotonic()
            logger.info("%3.0f %% denoised, about %.0f s left", 100 * fraction, seconds_left)


def visible(text: str) -> str:
    """Return a text with terminal control and text-direction characters shown as escapes.

    File names, settings keys and attribute values are untrusted.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def safe_traceback(error: BaseException) -> str:
    """Return the traceback of an error and of its causes; only messages of this program's own errors are included."""
    lines: list[str] = []
    seen: set[int] = set()
    chain: BaseException | None = error
    while chain is not None and id(chain) not in seen:
        seen.add(id(chain))
        kind = type(chain)
        message = f": {visible(str(chain))}" if isinstance(chain, NSN2NError) else ""
        shown = ["Traceback (most recent call last):\n", *traceback.format_tb(chain.__traceback__)]
        lines = [*shown, f"{kind.__module__}.{kind.__qualname__}{message}\n", "\n" if lines else "", *lines]
        chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)
    return "".join(lines)


class _Formatter(logging.Formatter):
    """``error: ...``, ``warning: ...``; messages of lower levels have no prefix. A message is one line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the name that logging calls
        line = visible(record.getMessage())
        return f"{record.levelname.lower()}: {line}" if record.levelno >= logging.WARNING else line

    def formatException(self, ei: object) -> str:  # noqa: N802 - the name that logging calls
        error = ei[1] if isinstance(ei, tuple) else None
        return safe_traceback(error).rstrip("\n") if isinstance(error, BaseException) else ""


def _may_be_told(record: logging.LogRecord) -> bool:
    """Whether a record is from this program, or a library warning that quotes no values."""
    first = record.name.split(".")[0]
    return first == "nsn2n" or (record.levelno >= logging.WARNING and first not in QUOTING)


def configure_logging(level: str | None, stream: TextIO | None = None) -> None:
    """Send this program's messages to stderr, and library warnings that quote no values.

    Parameters
    ----------
    level : str, optional
        For this program: DEBUG, INFO (default), WARN, ERROR or CRITICAL.
    stream : text stream, optional
        By default stderr.
    """
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(_Formatter())
    handler.addFilter(_may_be_told)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("nsn2n").setLevel(level or logging.INFO)
    logging.captureWarnings(True)
    warnings.filterwarnings("default")  # decided at the handler
    sys.excepthook = _tell_of_a_fault


def _tell_of_a_fault(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print an unexpected error without its message, which may quote values."""
    sys.stderr.write(safe_traceback(error))
