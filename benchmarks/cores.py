# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Time to denoise a volume with an increasing number of threads, and whether the bytes stay the same.

    python benchmarks/cores.py [--threads 1 2 4 8 16] [--repeats 2] [--shape 32 512 512] [--preset default] [--budget S]

Each run is a separate process that may use as many processors as it has threads, or all processors if there are
fewer; it denoises noise on a uniform background. Prints the shortest time of `nsn2n.denoise` in seconds, and the
speedup relative to the first number of threads. Runs with different numbers of threads alternate, so that other
programs slow all of them to a similar degree.
"""

from __future__ import annotations

import argparse
import json
import os
from functools import partial

from at_once import start
from rich.console import Console
from rich.table import Table
from run import machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--shape", type=int, nargs=3, default=[32, 512, 512])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--budget", type=float, help="seconds for each fit, which then gives other bytes")
    options = parser.parse_args()
    processors = sorted(os.sched_getaffinity(0))
    print(machine(max(options.threads)).replace(" threads", f" threads at most, {len(processors)} processors"))
    job = json.dumps([options.shape, options.preset, options.budget])
    found: dict[int, list[float]] = {threads: [] for threads in options.threads}
    digests = set()
    for _ in range(options.repeats):
        for threads, seconds in found.items():
            took, digest = run(job, threads, processors)
            seconds.append(took)
            digests.add(digest)
    table = Table("threads", "s", "times as fast", "same bytes", title=" x ".join(map(str, options.shape)))
    first = min(found[options.threads[0]])
    for threads, seconds in found.items():
        same = "yes" if len(digests) == 1 else "no"
        table.add_row(str(threads), f"{min(seconds):.1f}", f"{first / min(seconds):.2f}", same)
    Console(width=80).print(table)


def run(job: str, threads: int, processors: list[int]) -> tuple[float, str]:
    """Return the seconds and the digest of the voxels of a run with `threads` threads."""
    process = start(
        job,
        env={**os.environ, "OMP_NUM_THREADS": str(threads)},  # PyTorch's number of threads
        preexec_fn=partial(os.sched_setaffinity, 0, processors[:threads]),
    )
    output = process.communicate()[0]
    if process.returncode:
        raise SystemExit(f"a run failed with exit code {process.returncode}")
    seconds, digest = json.loads(output)
    return seconds, digest


if __name__ == "__main__":
    main()
