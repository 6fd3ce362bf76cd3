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

_SECONDS_BETWEEN_LOOKS = 0.02


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
    """Run a command and measure all of it; with ``anonymous`` also the memory that is no page of a file.

    This process must be small: a child's peak memory is at least that of the process that started it.
    """
    started = time.perf_counter()
    process = os.posix_spawn(job["command"][0], job["command"], dict(os.environ))
    anonymous_mb, ended = 0.0, 0
    while job.get("anonymous") and not ended:
        anonymous_mb = max(anonymous_mb, of_status("RssAnon", process) or 0.0)
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        ended, status, usage = os.wait4(process, os.WNOHANG)
    if not ended:
        _, status, usage = os.wait4(process, 0)
    if status != 0:
        raise SystemExit(f"the command must succeed; got exit status {os.waitstatus_to_exitcode(status)}.")
    return {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mb": usage.ru_maxrss / 1024,
        "package": f"nsn2n {version('nsn2n')}",
        **({"anonymous_mb": anonymous_mb} if job.get("anonymous") else {}),
    }


def processor_seconds() -> float:
    """Return the processor seconds of all threads so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak_mb() -> float:
    """Return the largest resident set of this process, MB.

    Read from /proc, since ru_maxrss would include the memory of the process that started this one.
    """
    peak = of_status("VmHWM")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 if peak is None else peak


def of_status(name: str, process: int | str = "self") -> float | None:
    """Return a figure of the status of a process, MB; None if it has ended or has no such figure."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    return None


if __name__ == "__main__":
    main()
