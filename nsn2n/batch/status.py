# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The status of a run, series by series, as a table, a CSV file and a web page, the worst first."""

from __future__ import annotations

import csv
import io
import os
import uuid
from collections import Counter
from collections.abc import Sequence
from dataclasses import astuple, fields
from importlib.resources import files
from pathlib import Path

import jinja2

from nsn2n._version import __version__
from nsn2n.batch.ledger import DONE, FAILED, RUNNING, WAITING, Row
from nsn2n.errors import NSN2NError

__all__ = ["CSV_NAME", "PAGE_NAME", "summary", "worst_first", "write_status"]

CSV_NAME, PAGE_NAME = "status.csv", "status.html"

_ORDER = ((FAILED, ""), (DONE, "fail"), (DONE, "review"), (RUNNING, ""), (WAITING, ""), (DONE, ""), (DONE, "pass"))
"""States with verdicts, starting with the worst. A series that failed has no result, whatever its verdict."""


def worst_first(rows: Sequence[Row]) -> list[Row]:
    """Return the rows by state and verdict, those that need attention first; equal ones in the order of the ledger."""
    return sorted(rows, key=lambda row: _ORDER.index((row.state, row.verdict if row.state == DONE else "")))


def summary(rows: Sequence[Row]) -> str:
    """Return how many series there are of each kind, on one line."""
    states = Counter(row.state for row in rows)
    verdicts = Counter(row.verdict for row in rows if row.state == DONE)
    counts = [f"{states[state]} {state}" for state in (DONE, FAILED, RUNNING, WAITING)]
    checks = ", ".join(f"{verdicts[verdict]} {verdict}" for verdict in ("pass", "review", "fail") if verdicts[verdict])
    return f"{len(rows)} series: {', '.join(counts)}" + (f"; structure check: {checks}" if checks else "")


def write_status(folder: Path, rows: Sequence[Row]) -> tuple[Path, Path]:
    """Write both files into the output folder, each in one step.

    Returns
    -------
    tuple of Path
        ``status.csv``, ``status.html``.

    Raises
    ------
    NSN2NError
        If they cannot be written.
    """
    ordered = worst_first(rows)
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerow([entry.name for entry in fields(Row)])
    writer.writerows(astuple(row) for row in ordered)
    template = files("nsn2n.batch").joinpath("status.html.j2").read_text("utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    page = environment.from_string(template).render(rows=ordered, summary=summary(rows), version=__version__)
    for name, content in ((CSV_NAME, table.getvalue()), (PAGE_NAME, page)):
        _write_whole(folder / name, content)
    return folder / CSV_NAME, folder / PAGE_NAME


def _write_whole(file: Path, content: str) -> None:
    """Write a temporary file next to the target, with a unique name: several shards may end at the same time."""
    beside = file.with_name(f".{file.name}.{uuid.uuid4().hex}")
    try:
        with beside.open("w", encoding="utf-8", newline="") as stream:
            stream.write(content)
        os.replace(beside, file)
    except OSError as error:
        raise NSN2NError(
            f"the folder of a run must be writable; got {error.strerror or type(error).__name__} at {file}."
            " Free some space; the ledger itself is complete."
        ) from error
    finally:
        beside.unlink(missing_ok=True)
