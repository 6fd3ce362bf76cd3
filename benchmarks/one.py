# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One method on one volume in a separate process: ``python benchmarks/one.py JOB.json``.

JOB.json names the method, the files and what is known about the volume; seconds (without imports), processor
seconds and peak memory are written to the file that it names.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any


def main() -> None:
    job = json.loads(Path(sys.argv[1]).read_text())
    used = run_command(job) if "command" in job else run_method(job)
    Path(job["report"]).write_text(json.dumps(used))


def run_method(job: dict[str, Any]) -> dict[str, Any]:
    """Denoise an array; the memory is that of this whole process, imports included."""
    import numpy as np
    from peers import METHODS, PACKAGES, Job

    noisy = np.load(job["input"])
    run = METHODS[job["method"]]()
    facts = Job(noisy=noisy, **{**job["facts"], "spacing_mm": tuple(job["facts"]["spacing_mm"])})
    started, processor = time.perf_counter(), processor_seconds()
    output = run(facts)
    used = {"seconds": time.perf_counter() - started, "cpu_seconds": processor_seconds() - processor}
    if output.shape != noisy.shape:
        raise SystemExit(f"{job['method']} must keep the shape {noisy.shape}; got {output.shape}.")
    np.save(job["output"], output.astype(np.float32, copy=False))
    package = PACKAGES[job["method"]]
    return {**used, "peak_mb": peak_mb(), "package": f"{package} {version(package)}" if package else ""}


def run_command(job: dict[str, Any]) -> dict[str, Any]:
    """Run a command and measure all of it.

    This process must be small: a child's peak memory is at least that of the process that started it.
    """
    started = time.perf_counter()
    process = os.posix_spawn(job["command"][0], job["command"], dict(os.environ))
    _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"the command must succeed; got exit status {os.waitstatus_to_exitcode(status)}.")
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "package": f"nsn2n {version('nsn2n')}",
    }


def processor_seconds() -> float:
    """Return the processor seconds of all threads so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Return the largest resident set of this process, MB.

    Read from /proc, since ru_maxrss would include the memory of the process that started this one.
    """
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
