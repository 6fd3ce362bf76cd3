# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Overhead of `nsn2n batch` per series, and the outcome of a simulated batch of 10,000 series.

    python benchmarks/batch.py [--workers 1 2 4] [--series 40] [--shape 3 32 32] [--simulated 10000] [--on 100]

First, for each number of workers, series of noise are processed through Ray on this machine, with the ledger, as in a
real run; the overhead is the time per series beyond its own seconds. Then the same scheduler, with a ledger on disk,
assigns a given number of series to simulated workers with a simulated clock: each series takes as long as one of the
measured series, scaled to a series of `--typical` seconds; some take ten times as long, some kill their worker, some
are bad.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from run import machine

from nsn2n.batch.ledger import Ledger
from nsn2n.batch.on_ray import RayWorkers
from nsn2n.batch.ray_connection import connected
from nsn2n.batch.scheduling import Counts, Ended, run_tasks
from nsn2n.batch.series_list import find_series
from nsn2n.batch.task import FoundSeries, RemoteSeries, SeriesOutcome, SeriesTask
from nsn2n.jobs.options import JobOptions
from nsn2n.synthetic.dicom_series import write_synthetic_series

OPTIONS = JobOptions(
    preset="fast", config={"fit": {"steps": 12, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}, force=True
)
STRAGGLERS, DEATHS, BAD = 0.01, 0.005, 0.002
"""Fractions of the simulated series; a death is that of the worker, halfway through the series."""
SLOWER = 10.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--series", type=int, default=40, help="that are measured for each number of workers")
    parser.add_argument("--shape", type=int, nargs=3, default=[3, 32, 32])
    parser.add_argument("--simulated", type=int, default=10_000)
    parser.add_argument("--on", type=int, default=100, help="simulated workers")
    parser.add_argument("--typical", type=float, default=60.0, help="mean seconds of a simulated series")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", type=int, help=argparse.SUPPRESS)  # one number of workers, in a separate process
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.series, options.shape)))
        return
    print(machine(1).replace(", 1 threads", ""))
    title = f"{options.series} series of {' x '.join(map(str, options.shape))}"
    table = Table("workers", "series per hour", "seconds of a series", "overhead, s", title=title)
    measured: list[float] = []
    for count in options.workers:
        elapsed, seconds = _in_a_process(count, options.series, options.shape)
        measured += seconds
        overhead = elapsed * count / len(seconds) - np.mean(seconds)
        rate = 3600 * len(seconds) / elapsed
        table.add_row(str(count), f"{rate:.0f}", f"{np.mean(seconds):.2f}", f"{overhead:.2f}")
    Console(width=80).print(table)
    scaled = np.array(measured) * options.typical / np.mean(measured)
    Console(width=80).print(simulate(scaled, options.simulated, options.on, options.seed))


def _in_a_process(count: int, series: int, shape: list[int]) -> tuple[float, list[float]]:
    words = ["--measure", count, "--series", series, "--shape", *shape]
    command = [sys.executable, __file__, *map(str, words)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    elapsed, seconds = json.loads(output.splitlines()[-1])
    return elapsed, seconds


def measure(count: int, series: int, shape: list[int]) -> tuple[float, list[float]]:
    """Return the seconds of a run with `count` workers, which have loaded PyTorch before, and of each series."""
    with tempfile.TemporaryDirectory() as folder, connected(None, gpus=0, cpus=count):
        place = Path(folder)
        for index in range(series):
            volume = np.random.default_rng(index).normal(40, 20, shape)
            write_synthetic_series(volume, place / "trial" / str(index), seed=f"batch-{index}")
        found = find_series(str(place / "trial"), OPTIONS)
        # Before the clock starts, each worker loads PyTorch.
        _run(found.series[: 2 * count], place / "warm", count)
        started = time.perf_counter()
        seconds = _run(found.series, place / "out", count)
        return time.perf_counter() - started, seconds


def _run(series: list[FoundSeries], output: Path, count: int) -> list[float]:
    tasks = [SeriesTask(series=one, output=output, options=OPTIONS) for one in series]
    with Ledger.opened(output / "ledger.sqlite", {}) as ledger:
        ledger.add((task.series, str(task.folder), task.memory_bytes) for task in tasks)
        counts = Counts(len(tasks))
        run_tasks(tasks, ledger, RayWorkers(cpus=1, gpus=0), counts, max_retries=2)
        assert counts.done == len(tasks), [row.error for row in ledger.rows() if row.error]
        return [row.seconds or 0.0 for row in ledger.rows()]


class Simulated:
    """Workers with a simulated clock that jumps from the end of one series to the next."""

    patience_s = 0.0

    def __init__(self, count: int, seconds: dict[str, float], kinds: dict[str, str]) -> None:
        self.count, self.seconds, self.kinds = count, seconds, dict(kinds)
        self.now_s = self.busy_s = 0.0
        self._ends: list[tuple[float, int, SeriesTask]] = []
        self._begun = 0

    def have_room(self) -> bool:
        return len(self._ends) < self.count

    def obstacle(self, task: SeriesTask) -> None:
        return None

    def begin(self, task: SeriesTask) -> None:
        uid = task.series.SeriesInstanceUID
        takes = self.seconds[uid] * (0.5 if self.kinds[uid] == "death" else 1.0)
        self.busy_s += takes
        self._begun += 1
        heapq.heappush(self._ends, (self.now_s + takes, self._begun, task))

    def wait(self, seconds: float) -> list[Ended]:
        self.now_s, _, task = heapq.heappop(self._ends)
        uid = task.series.SeriesInstanceUID
        if self.kinds[uid] == "death":
            self.kinds[uid] = ""
            return [Ended(task, None, "killed")]
        return [Ended(task, SeriesOutcome(error="bad" if self.kinds[uid] == "bad" else None))]

    def stop(self) -> None:
        pass


def simulate(measured: np.ndarray, series: int, count: int, seed: int) -> Table:
    """Assign a number of series to a number of simulated workers, and return a table of the outcomes."""
    rng = np.random.default_rng(seed)
    uids = [f"1.2.{index}" for index in range(series)]
    kinds = rng.choice(
        ["", "straggler", "death", "bad"], series, p=[1 - STRAGGLERS - DEATHS - BAD, STRAGGLERS, DEATHS, BAD]
    )
    takes = rng.choice(measured, series) * np.where(kinds == "straggler", SLOWER, 1.0)
    workers = Simulated(count, dict(zip(uids, takes, strict=True)), dict(zip(uids, map(str, kinds), strict=True)))
    remote = RemoteSeries("http://simulated", "1.2", "")
    with tempfile.TemporaryDirectory() as folder:
        found = [
            FoundSeries("1.2", uid, "CT", 1, 1, dataclasses.replace(remote, SeriesInstanceUID=uid)) for uid in uids
        ]
        tasks = [SeriesTask(series=one, output=Path(folder), options=OPTIONS) for one in found]
        with Ledger.opened(Path(folder) / "ledger.sqlite", {}) as ledger:
            ledger.add((task.series, "", 1) for task in tasks)
            started = time.perf_counter()
            run_tasks(tasks, ledger, workers, Counts(series), max_retries=2)
            own = time.perf_counter() - started
            rows = ledger.rows()
    states = Counter(row.state for row in rows)
    table = Table("", "", title=f"{series} simulated series on {count} workers, seed {seed}", show_header=False)
    table.add_row("done, failed", f"{states['done']}, {states['failed']}")
    table.add_row("retried after a worker died", f"{sum(row.tries > 1 for row in rows)}")
    table.add_row("duration, hours", f"{workers.now_s / 3600:.2f}")
    table.add_row("shortest possible duration, hours", f"{workers.busy_s / count / 3600:.2f}")
    table.add_row("workers busy", f"{100 * workers.busy_s / count / workers.now_s:.1f} %")
    table.add_row("scheduling and ledger, ms per series", f"{1000 * own / series:.1f}")
    return table


if __name__ == "__main__":
    main()
