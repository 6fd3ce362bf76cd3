# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The ledger of a run: what became of each series, in an SQLite file of the output folder with one writer.

A row is written when a series begins and when it ends, each in a transaction of its own, so a run that is killed
anywhere leaves a ledger that is whole. It holds UIDs, and nothing else of the patient.
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

STOPPED = "the run ended before this series did; it is taken again"

_BUSY_S = 60.0
"""A reader keeps the writer waiting for moments only."""


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
    """How often a worker began it."""
    seconds: float | None
    """Of the try that ended it."""
    peak_bytes: int | None
    """The most memory that its worker had then."""
    estimated_bytes: int
    """What was set aside for it."""
    verdict: str
    """Of the structure check; empty if it was not reached."""
    error: str
    """One line; empty if there is none."""
    host: str
    folder: str
    """Of the new series, relative to the output folder."""
    report: str
    """Page of the quality report, relative to the output folder; empty if there is none."""
    remarks: str
    """Warnings of the job."""
    changed: str
    """When the row was written last, UTC."""


_COLUMNS = tuple(entry.name for entry in fields(Row))
_KINDS = {"number": "INTEGER", "tries": "INTEGER", "seconds": "REAL", "peak_bytes": "INTEGER"}
_KINDS |= {"estimated_bytes": "INTEGER", "series_uid": "TEXT PRIMARY KEY"}
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS series ({", ".join(f"{name} {_KINDS.get(name, 'TEXT')}" for name in _COLUMNS)});
CREATE TABLE IF NOT EXISTS run (options TEXT NOT NULL);
"""


class Ledger:
    """The one writer of a ledger file. Made by :meth:`opened`."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    @contextmanager
    def opened(cls, file: Path, options: Mapping[str, object]) -> Iterator[Ledger]:
        """Open a ledger to write, or begin one.

        Parameters
        ----------
        file : path
            Its folder is made if absent.
        options : mapping
            Plain values of what decides about results: a ledger is of one run, which all its series share.

        Raises
        ------
        NSN2NError
            If another process writes it, or it cannot be written.
        SettingsError
            If it was begun with other options.
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
            os.close(lock)  # and with it the lock

    def add(self, series: Iterable[tuple[FoundSeries, str, int]]) -> None:
        """Add those that are not there, with folder and estimated memory, as waiting."""
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
        """Note that a worker begins a series."""
        self._update(series_uid, state=RUNNING, error="", tries=None)

    def waits(self, series_uid: str, reason: str = STOPPED) -> None:
        """Note that a series is to be begun again, and why."""
        self._update(series_uid, state=WAITING, error=reason)

    def ended(self, series_uid: str, outcome: SeriesOutcome) -> None:
        """Note what became of a series: done, for which its folder must be in place, or failed."""
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
        """Set columns of a row; tries are counted up."""
        values["changed"] = _now()
        counted = "tries" in values and values.pop("tries") is None
        columns = ", ".join(f"{name} = :{name}" for name in values) + (", tries = tries + 1" if counted else "")
        self._connection.execute(
            f"UPDATE series SET {columns} WHERE series_uid = :series_uid", {**values, "series_uid": series_uid}
        )


def read_ledgers(folder: Path) -> list[Row]:
    """Return the rows of all ledgers of an output folder, also while runs write them.

    Raises
    ------
    NSN2NError
        If there is none, or one cannot be read.
    """
    files = sorted(folder.glob(PATTERN)) if folder.is_dir() else []
    if not files:
        raise NSN2NError(
            f"--status needs a ledger; {folder} has none ({PATTERN}). Name the output folder of a run that was begun."
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
            f"a ledger must have one writer; another run has {file} open. Wait for its end, or take a shard each."
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
            f"all series of an output folder must be denoised alike; got {name} {now.get(name)}, and {file} was begun"
            f" with {before.get(name)}. Give the same options, or another folder."
        )


def _unusable(file: Path, reason: str) -> NSN2NError:
    return NSN2NError(
        f"a ledger must be an SQLite file that can be read and written; got {reason} at {file}. Make room, or check the"
        " file and who may write there."
    )


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
