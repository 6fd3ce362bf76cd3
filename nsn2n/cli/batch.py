# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``nsn2n batch``: distributes the series of a source to workers, shows progress, and reports the outcomes."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from nsn2n._version import __version__
from nsn2n.batch.ledger import DONE, FAILED, WAITING, Ledger, Row, read_ledgers
from nsn2n.batch.on_ray import RayWorkers
from nsn2n.batch.one_by_one import ChildWorker
from nsn2n.batch.ray_connection import connected
from nsn2n.batch.scheduling import Counts, Ended, Workers, run_tasks, tasks_left
from nsn2n.batch.series_list import find_series
from nsn2n.batch.series_numbers import taken_numbers
from nsn2n.batch.shards import shard_of
from nsn2n.batch.status import summary, worst_first, write_status
from nsn2n.batch.task import SeriesTask
from nsn2n.cli.signals import raise_if_stopped
from nsn2n.errors import SettingsError
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import ALL_FAILED, SOME_FAILED
from nsn2n.runtime.cpus import usable_cpus
from nsn2n.runtime.logs import SECONDS_BETWEEN_PROGRESS, configure_logging, visible

__all__ = ["BatchOptions", "print_status", "run_batch"]

logger = logging.getLogger(__name__)

LEDGER = "ledger.sqlite"

_OF_A_RUN = ("series_uids", "strict")
"""Options that decide which series are started; all others are the same for all series of an output folder."""


@dataclass(frozen=True, kw_only=True)
class BatchOptions:
    """How the series are distributed among workers."""

    address: str | None = None
    num_cpus: int | None = None
    num_gpus: float | None = None
    max_retries: int = 2
    retry_failed: bool = False
    shard: str | None = None
    dashboard: bool = False


def run_batch(source: str, target: Path, options: JobOptions, batch: BatchOptions, quiet: bool) -> int:
    """Denoise all series of a source and return the exit code.

    Raises
    ------
    NSN2NError
        If there is nothing to do, or the run cannot start.
    """
    shard = shard_of(batch.shard, os.environ)
    cpus = _cpus(batch)
    gpus = batch.num_gpus if batch.num_gpus is not None else float(options.device == "cuda")
    found = find_series(source, options)
    taken = taken_numbers(found, options)
    tasks = [
        SeriesTask(
            series=series,
            output=target.absolute(),
            options=options,
            taken_series_numbers=taken[series.SeriesInstanceUID],
            cpus=cpus,
        )
        for series in found.series
        if shard is None or shard.has(series.SeriesInstanceUID)
    ]
    logger.info(
        "%d series%s",
        len(found.series),
        "" if shard is None else f", {len(tasks)} of shard {shard.index}/{shard.count}",
    )
    alone = shard is not None and batch.address is None
    with Ledger.opened(target / (LEDGER if shard is None else shard.ledger), _of_all(options)) as ledger:
        ledger.add((task.series, str(task.folder.relative_to(task.output)), task.memory_bytes) for task in tasks)
        left = tasks_left(tasks, ledger, retry_failed=batch.retry_failed)
        counts = _counts(ledger, len(tasks), left)
        logger.info("%d done earlier, %d failed earlier, %d to do", counts.done, counts.failed, len(left))
        if left:
            cluster = nullcontext() if alone else connected(batch.address, gpus=gpus, dashboard=batch.dashboard)
            with cluster, _shown(quiet) as show:
                workers: Workers = ChildWorker() if alone else RayWorkers(cpus, gpus)
                run_tasks(
                    left, ledger, workers, counts, max_retries=batch.max_retries, strict=options.strict, on_change=show
                )
        rows = ledger.rows()
    for file in write_status(target, read_ledgers(target)):
        typer.echo(str(file))
    return _conclude([row for row in rows if row.series_uid in {task.series.SeriesInstanceUID for task in tasks}])


def _cpus(batch: BatchOptions) -> int:
    """Return the processors per series; on a single machine, those requested must be available."""
    usable = usable_cpus()
    if batch.num_cpus is None:
        return 2 if batch.address is not None else min(2, usable)
    if batch.address is None and batch.num_cpus > usable:
        raise SettingsError(
            f"--num-cpus must be at most {usable}, the processors of this machine; got {batch.num_cpus}. Request fewer."
        )
    return batch.num_cpus


def _of_all(options: JobOptions) -> dict[str, object]:
    """Return what determines the result of a series, as plain values."""
    chosen = {name: value for name, value in asdict(options).items() if name not in _OF_A_RUN}
    plain: dict[str, object] = json.loads(json.dumps(chosen, default=str))
    return {**plain, "version": __version__}


def _counts(ledger: Ledger, total: int, left: list[SeriesTask]) -> Counts:
    to_do = {task.series.SeriesInstanceUID for task in left}
    failed = sum(row.state == FAILED and row.series_uid not in to_do for row in ledger.rows())
    return Counts(total, done=total - len(left) - failed, failed=failed)


def _conclude(rows: list[Row]) -> int:
    text = summary(rows)
    failed, done = (sum(row.state == state for row in rows) for state in (FAILED, DONE))
    if failed or any(row.state == WAITING for row in rows):
        logger.error("%s. See status.html; --retry-failed retries what failed.", text)
        return SOME_FAILED if done else ALL_FAILED
    logger.info("%s", text)
    return 0


Show = Callable[[Counts, Ended | None], None]


@contextmanager
def _shown(quiet: bool) -> Iterator[Show]:
    """Yield the progress display: a bar over all series on a terminal, otherwise a log line from time to time."""
    console = Console(stderr=True)
    started, before = time.monotonic(), -1
    last_s = started

    def tell(counts: Counts, ended: Ended | None) -> str:
        """Log the outcome of a series, and return rate and time left."""
        nonlocal before
        raise_if_stopped()
        before = counts.ended if before < 0 else before
        if ended is not None and ended.outcome is not None:
            for remark in ended.outcome.remarks:
                logger.warning("%s: %s", ended.task.series.label, remark)
            if ended.outcome.error is not None:
                logger.error("%s: %s", ended.task.series.label, ended.outcome.error)
        made, passed = counts.ended - before, time.monotonic() - started
        if not made:
            return f"{counts.running} running"
        left_s = (counts.total - counts.ended) * passed / made
        failed = f"{counts.failed} failed, " if counts.failed else ""
        return f"{failed}{3600 * made / passed:.0f} series per hour, about {_time(left_s)} left"

    def log(counts: Counts, ended: Ended | None) -> None:
        nonlocal last_s
        text = tell(counts, ended)
        if time.monotonic() - last_s >= SECONDS_BETWEEN_PROGRESS:
            last_s = time.monotonic()
            logger.info("%d of %d series: %s", counts.ended, counts.total, text)

    if quiet or not console.is_terminal:
        yield log
        return
    columns = (TextColumn("series"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console) as bars:
        configure_logging("INFO")  # stderr is now a stream that writes above the bar
        bar = bars.add_task("", total=None)
        try:
            yield lambda counts, ended: bars.update(
                bar, total=counts.total, completed=counts.ended, description=tell(counts, ended)
            )
        finally:
            bars.stop()
            configure_logging("INFO")


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    return f"{seconds:.0f} s" if seconds < 120 else f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"


def print_status(target: Path, console: Console | None = None) -> None:
    """Print the table of a run, the worst outcomes first, and write it as CSV and as a web page.

    Raises
    ------
    NSN2NError
        If there is no ledger.
    """
    rows = read_ledgers(target)
    written = write_status(target, rows)
    console = console or Console()
    if not console.is_terminal:
        lines = [[entry.name for entry in fields(Row)], *(list(asdict(row).values()) for row in worst_first(rows))]
        for line in lines:
            typer.echo("\t".join(visible("" if value is None else str(value)) for value in line))
    else:
        table = Table(title=summary(rows))
        for title in ("state", "verdict", "series", "tries", "s", "MiB", "host", "error"):
            table.add_column(title, overflow="fold", justify="right" if title in ("tries", "s", "MiB") else "left")
        for row in worst_first(rows):
            seconds = "" if row.seconds is None else f"{row.seconds:.1f}"
            peak = f"{row.peak_bytes / 2**20:.0f}" if row.peak_bytes else ""
            series = f"{row.modality} {row.number if row.number is not None else '-'}\n{row.series_uid}"
            texts = (row.state, row.verdict, series, str(row.tries), seconds, peak, row.host, row.error)
            table.add_row(*(Text("\n".join(visible(line) for line in text.split("\n"))) for text in texts))
        console.print(table)
    logger.info("%s; %s and %s written", summary(rows), *written)
