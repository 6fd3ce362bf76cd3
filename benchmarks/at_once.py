# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Time to denoise a volume alone, and next to other runs of the same volume on the same processors.

    python benchmarks/at_once.py [--runs 1 2] [--repeats 3] [--shape 24 256 256] [--preset default] [--budget S]

Each run is a separate process that loads PyTorch, then denoises noise on a uniform background. Prints the seconds that
`nsn2n.denoise` takes, averaged over all runs, and whether all runs returned the same bytes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from run import machine

_RUN = """
import hashlib, json, sys, time
import numpy as np
import nsn2n
shape, preset, budget_s = json.loads(sys.argv[1])
volume = (100 + 10 * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)
started = time.perf_counter()
result = nsn2n.denoise(
    volume, preset=preset, modality="CT", spacing_mm=(2.0, 0.7, 0.7), device="cpu", config={"budget_s": budget_s}
)
print(json.dumps([time.perf_counter() - started, hashlib.sha256(result.volume.tobytes()).hexdigest()]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[1, 2], help="how many at once")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--shape", type=int, nargs=3, default=[24, 256, 256])
    parser.add_argument("--preset", default="default")
    parser.add_argument("--budget", type=float, help="seconds for each fit, which then gives other bytes")
    options = parser.parse_args()
    print(machine(1).replace(", 1 threads", ""))
    table = Table("at once", "seconds of each", "same bytes", title=" x ".join(map(str, options.shape)))
    job = json.dumps([options.shape, options.preset, options.budget])
    for count in options.runs:
        found = [one for _ in range(options.repeats) for one in at_once(count, job)]
        seconds, digests = zip(*found, strict=True)
        table.add_row(str(count), f"{np.mean(seconds):.1f}", "yes" if len(set(digests)) == 1 else "no")
    Console(width=80).print(table)


def start(job: str, **options: Any) -> subprocess.Popen[str]:
    """Start a run that prints its seconds and the digest of its voxels as JSON; options are those of `Popen`."""
    return subprocess.Popen([sys.executable, "-c", _RUN, job], stdout=subprocess.PIPE, text=True, **options)


def at_once(count: int, job: str) -> Sequence[tuple[float, str]]:
    """Return the seconds and the digest of the voxels for each of `count` simultaneous runs."""
    processes = [start(job) for _ in range(count)]
    outputs = [process.communicate()[0] for process in processes]
    failed = [process.returncode for process in processes if process.returncode]
    if failed:
        raise SystemExit(f"a run failed with exit code {failed[0]}")
    return [json.loads(output) for output in outputs]


if __name__ == "__main__":
    main()
