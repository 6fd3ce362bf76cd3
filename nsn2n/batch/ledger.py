# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger of a run: the outcome of each series, in an SQLite file of the output folder with one writer.

A row is written when a series starts and when it ends, each in a separate transaction, so a run that is killed at any
time leaves a consistent ledger. It holds UIDs, and no other patient data.
"""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from pathlib import Path

from nsn2n.batch.task import FoundSeries, SeriesOutcome
from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.runtime.paths import require_writable_folder

__all__ = ["DONE", "FAILED", "PATTERN", "RUNNING", "WAITING", "Ledger", "Row", "read_ledgers"]

WAITING, RUNNING, DONE, FAILED = "waiting", "running", "done", "failed"
"""States. Running: given to a worker, or to Ray."""

PATTERN = "ledger*.sqlite"

STOPPED = "the run ended before this series did; it is retried"

_BUSY_S = 60.0
"""Readers block the writer only for moments."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One series of a ledger."""

    series_uid: str
    study_uid: str
    modality: str
    number: int | None
    """SeriesNumber of the source."""
    state: str
    tries: int
    """How many times a worker started it."""
    seconds: float | None
    """Duration of the final try."""
    peak_bytes: int | None
    """Peak memory of its worker during that try."""
    estimated_bytes: int
    """Memory reserved for it."""
    verdict: str
    """Verdict of the structure check; empty if it was not reached."""
    error: str
    """One line; empty if there is none."""
    host: str
    folder: str
    """Folder of the new series, relative to the output folder."""
    report: str
    """Page of the quality report, relative to the output folder; empty if there is none."""
    remarks: str
    """Warnings of the job."""
    changed: str
    """When the row was last written, UTC."""


_COLUMNS = tuple(entry.name for entry in fields(Row))
_KINDS = {"number": "INTEGER", "tries": "INTEGER", "seconds": "REAL", "peak_bytes": "INTEGER"}
_KINDS |= {"estimated_bytes": "INTEGER", "series_uid": "TEXT PRIMARY KEY"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS series ({", ".join(f"{name} {_KINDS.get(name, 'TEXT')}" for name in _COLUMNS)});
CREATE TABLE IF NOT EXISTS run (options TEXT NOT NULL);
"""


class Ledger:
    """The one writer of a ledger file. Created by :meth:`opened`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, file: Path, options: Mapping[str, object]) -> Iterator[Ledger]:
        """Open a ledger for writing, or create one.

        Parameters
        ----------
        file : path
            Its folder is created if absent.
        options : mapping
            Plain values of what determines results: a ledger belongs to one run, with the same options for all its
            series.

        Raises
        ------
        NSN2NError
            If another process is writing it, or it cannot be written.
        SettingsError
            If it was created with other options.
        """
        require_writable_folder(file.parent)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT, 0o666)
        except OSError as error:
            raise _unusable(file, error.strerror or type(error).__name__) from error
        try:
            _lock(lock, file)
            try:
                connection = sqlite3.connect(file, timeout=_BUSY_S, isolation_level=None)
                try:
                    connection.executescript(_SCHEMA)
                    _require_same(connection, options, file)
                    yield cls(connection)
                finally:
                    connection.close()
            except sqlite3.Error as error:
                raise _unusable(file, str(error)) from error
        finally:
            os.close(lock)  # and release the lock

    def add(self, series: Iterable[tuple[FoundSeries, str, int]]) -> None:
        """Add those that are missing, with folder and estimated memory, as waiting."""
        rows = [
            {
                **dict.fromkeys(_COLUMNS, ""),
                **{"series_uid": one.SeriesInstanceUID, "study_uid": one.StudyInstanceUID, "modality": one.Modality},
                **{"number": one.SeriesNumber, "state": WAITING, "tries": 0, "seconds": None, "peak_bytes": None},
                **{"estimated_bytes": estimate, "folder": folder, "changed": _now()},
            }
            for one, folder, estimate in series
        ]
        marks = ", ".join(f":{name}" for name in _COLUMNS)
        self._connection.execute("BEGIN")
        self._connection.executemany(f"INSERT OR IGNORE INTO series VALUES ({marks})", rows)
        self._connection.execute("COMMIT")

    def rows(self) -> list[Row]:
        """Return all rows, in the order in which they were added."""
        return _rows(self._connection)

    def begun(self, series_uid: str) -> None:
        """Record that a worker starts a series."""
        self._update(series_uid, state=RUNNING, error="", tries=None)

    def waits(self, series_uid: str, reason: str = STOPPED) -> None:
        """Record that a series is to be restarted, and why."""
        self._update(series_uid, state=WAITING, error=reason)

    def ended(self, series_uid: str, outcome: SeriesOutcome) -> None:
        """Record the outcome of a series: done, which requires its folder to be in place, or failed."""
        row = self._connection.execute("SELECT folder FROM series WHERE series_uid = ?", (series_uid,)).fetchone()
        self._update(
            series_uid,
            state=DONE if outcome.error is None else FAILED,
            seconds=outcome.seconds,
            peak_bytes=outcome.peak_bytes,
            verdict=outcome.verdict,
            error=outcome.error or "",
            host=outcome.host,
            report=f"{row[0]}/{outcome.report}" if outcome.report else "",
            remarks="; ".join(outcome.remarks),
        )

    def _update(self, series_uid: str, **values: object) -> None:
        """Set columns of a row, and increment its tries if requested."""
        values["changed"] = _now()
        counted = "tries" in values and values.pop("tries") is None
        columns = ", ".join(f"{name} = :{name}" for name in values) + (", tries = tries + 1" if counted else "")
        self._connection.execute(
            f"UPDATE series SET {columns} WHERE series_uid = :series_uid", {**values, "series_uid": series_uid}
        )


def read_ledgers(folder: Path) -> list[Row]:
    """Return the rows of all ledgers of an output folder, even while runs are writing them.

    Raises
    ------
    NSN2NError
        If there is none, or one cannot be read.
    """
    files = sorted(folder.glob(PATTERN)) if folder.is_dir() else []
    if not files:
        raise NSN2NError(
            f"--status needs a ledger; {folder} has none ({PATTERN}). Name the output folder of a run that was started."
        )
    rows = []
    for file in files:
        try:
            connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S)
            try:
                rows += _rows(connection)
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise _unusable(file, str(error)) from error
    return rows


def _rows(connection: sqlite3.Connection) -> list[Row]:
    found = connection.execute(f"SELECT {', '.join(_COLUMNS)} FROM series ORDER BY rowid")
    return [Row(**dict(zip(_COLUMNS, values, strict=True))) for values in found]


def _lock(descriptor: int, file: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise NSN2NError(
            f"a ledger must have one writer; another run has {file} open. Wait for it to end, or use one shard per run."
        ) from error
    except OSError as error:
        raise _unusable(file, error.strerror or type(error).__name__) from error


def _require_same(connection: sqlite3.Connection, options: Mapping[str, object], file: Path) -> None:
    known = connection.execute("SELECT options FROM run").fetchone()
    if known is None:
        connection.execute("INSERT INTO run VALUES (?)", (json.dumps(options, sort_keys=True),))
        return
    before = json.loads(known[0])
    now = json.loads(json.dumps(options))
    differing = [name for name in sorted({*before, *now}) if before.get(name) != now.get(name)]
    if differing:
        name = differing[0]
        raise SettingsError(
            f"all series of an output folder must have the same options; got {name} {now.get(name)}, but {file} was"
            f" created with {before.get(name)}. Give the same options, or another folder."
        )


def _unusable(file: Path, reason: str) -> NSN2NError:
    return NSN2NError(
        f"a ledger must be a readable and writable SQLite file; got {reason} at {file}. Free some space, or check the"
        " file and its permissions."
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
