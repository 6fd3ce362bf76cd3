# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The results: rows that are saved to a CSV file as they are measured, and printed as one table for each case."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from measures import MEASURES, spot_column
from rich.console import Console
from rich.table import Table
from spots import KINDS

__all__ = ["FIELDS", "Results", "Row", "mean_rows", "print_tables"]

Row = dict[str, str]

KEY = ("case", "size", "seed", "method", "threads")
FIELDS = (
    *KEY, "half", "shape", "sigma", "package", "seconds", "cpu_seconds", "peak_mb", *MEASURES, "failure",
)  # fmt: skip


class Results:
    """Rows of the table; if there is a file, each is written to it immediately."""

    def __init__(self, path: Path | None, *, resume: bool = False) -> None:
        self._path = path
        self.rows: list[Row] = []
        if path is None:
            return
        if path.exists() and not resume:
            raise SystemExit(f"{path} must not exist; it does. Go on with it by --resume, or name another file.")
        if path.exists():
            with path.open(newline="") as file:
                # Failed rows are measured again.
                self.rows = [row for row in csv.DictReader(file) if not row["failure"]]
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, FIELDS)
            writer.writeheader()
            writer.writerows(self.rows)

    def has(self, key: Row) -> bool:
        """Return whether there is a row of this case, size, seed, method and number of threads."""
        return any(all(row[name] == key[name] for name in KEY) for row in self.rows)

    def add(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(dict.fromkeys(FIELDS, "") | row)
        if self._path is not None:
            with self._path.open("a", newline="") as file:
                csv.DictWriter(file, FIELDS).writerow(row)


@dataclass(frozen=True)
class Column:
    """A printed column."""

    title: str
    text: Callable[[Row], str]


def _number(title: str, field: str, form: str, scale: float = 1.0) -> Column:
    return Column(title, lambda row: format(scale * float(row[field]), form) if row[field] else "")


def _joined(row: Row, *fields: str) -> str:
    return "/".join(f"{float(row[field]):.1f}" for field in fields) if row[fields[0]] else ""


def _kept(sds: int, slices: int) -> Column:
    fields = [spot_column(kind) for kind in KINDS if (kind.noise_sds, kind.slices) == (sds, slices)]

    def text(row: Row) -> str:
        return "/".join(f"{100 * float(row[field]):.0f}" for field in fields) if row[fields[0]] else ""

    sizes = "/".join(str(kind.diameter_px) for kind in KINDS if (kind.noise_sds, kind.slices) == (sds, slices))
    return Column(f"kept % {sds} sd {slices} sl. {sizes} px", text)


COLUMNS = (
    _number("PSNR dB", "psnr", ".2f"),
    _number("SSIM", "ssim", ".4f"),
    _number("tissue PSNR dB", "psnr_tissue", ".2f"),
    _number("mean error", "mean_error", "+.3g"),
    _number("noise sd", "noise_sd", ".2f"),
    Column("NPS low/mid/high", lambda row: _joined(row, "nps_low", "nps_mid", "nps_high")),
    _number("NPS mean 1/mm", "nps_mean_frequency", ".3f"),
    _number("rod noise sd HU", "rod_noise_sd", ".2f"),
    _number("rod mean HU", "rod_mean", ".2f"),
    _number("edge %", "edge_steepness", ".1f", 100),
    _number("structure removed", "structure_removed", ".3f"),
    _number("change rms", "change_rms", ".3g"),
    _number("change max", "change_max", ".3g"),
    _number("feature kept %", "feature_kept", ".1f", 100),
    *(_kept(sds, slices) for slices in (1, 3) for sds in (3, 5)),
    _number("s", "seconds", ".1f"),
    _number("cpu s", "cpu_seconds", ".1f"),
    _number("peak MB", "peak_mb", ".0f"),
)  # fmt: skip


def mean_rows(rows: Iterable[Row]) -> list[Row]:
    """Return one row for each case, size, half and method: the mean over its seeds, without failed rows."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        if not row["failure"]:
            groups.setdefault(tuple(row[name] for name in ("case", "size", "half", "method", "threads")), []).append(
                row
            )
    numbers = ("seconds", "cpu_seconds", "peak_mb", *MEASURES)
    means = []
    for group in groups.values():
        merged = {**group[0], "seed": " ".join(row["seed"] for row in group)}
        for name in numbers:
            values = [float(row[name]) for row in group if row[name]]
            merged[name] = f"{mean(values):.6g}" if values else ""
        means.append(merged)
    return means


def print_tables(rows: Iterable[Row], console: Console | None = None) -> None:
    """Print one table for each case, a row for each method."""
    console = console or Console(width=230)
    cases: dict[tuple[str, ...], list[Row]] = {}
    for row in mean_rows(rows):
        cases.setdefault((row["case"], row["shape"], row["half"], row["seed"], row["threads"]), []).append(row)
    for (case, shape, half, seed, threads), of_case in cases.items():
        columns = [column for column in COLUMNS if any(column.text(row) for row in of_case)]
        title = f"{case}: {shape} voxels, half to {half}, seed {seed}, {threads} threads"
        table = Table(title=title, title_justify="left")
        table.add_column("method", no_wrap=True)
        for column in columns:
            table.add_column(column.title, overflow="fold")
        for row in of_case:
            table.add_row(row["method"], *(column.text(row) for column in columns))
        console.print(table)
