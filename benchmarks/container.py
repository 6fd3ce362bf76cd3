# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Memory, time and start-up of the container, with the limits of docs/container.md: ``make bench-map``.

    python benchmarks/container.py [--image nsn2n:0.1.0] [--shapes 40x512x512] [--cpus 2] [--memory 3g] [--data DIR]

Runs the image of ``make map`` on synthetic series of the given shapes, and on the real CT study if DIR contains it
(``../shared/data`` beside the checkout, or the variable NSN2N_TEST_DATA). Peak memory is that of the application's
process; that of the control group also includes the page cache, which the system frees when memory is needed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from nsn2n._version import __version__
from nsn2n.synthetic.dicom_series import write_synthetic_series

CONFINED = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--user", "4242:0"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)
DATA = Path(os.environ.get("NSN2N_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
FIRST_LINE = f"nsn2n {__version__}"
AT_WORK = "denoising"
SHOWN_PACKAGES = 6

# First process of the container: starts the image's own process, timestamps its lines, and records its resource use.
WATCH = """
import json, os, resource, subprocess, sys, threading, time
started = time.time()
child = subprocess.Popen(sys.argv[1:], stderr=subprocess.PIPE, text=True)
lines, threads = [], [1]

def count():
    while child.poll() is None:
        try:
            status = open(f"/proc/{child.pid}/status").read()
        except OSError:
            return
        threads[0] = max(threads[0], int(status.split("Threads:")[1].split()[0]))
        time.sleep(0.05)

threading.Thread(target=count, daemon=True).start()
for line in child.stderr:
    lines.append((time.time(), line.rstrip()))
code = child.wait()
group = None
for name in "memory.peak", "memory/memory.max_usage_in_bytes":
    if os.path.isfile("/sys/fs/cgroup/" + name):
        group = int(open("/sys/fs/cgroup/" + name).read())
peak = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
json.dump({"started": started, "ended": time.time(), "lines": lines, "code": code, "threads": threads[0],
           "peak_bytes": peak, "group_peak_bytes": group}, sys.stdout)
"""


@dataclass(frozen=True)
class Run:
    """Observations of one run of the container; times in seconds since the epoch."""

    asked: float
    """When the engine was asked to run it."""
    started: float
    """When its first process ran."""
    ended: float
    lines: list[tuple[float, str]]
    """Messages of the application, each with the time at which it arrived."""
    code: int
    threads: int
    peak_bytes: int
    group_peak_bytes: int | None
    """None if the kernel does not report it."""

    def time_of(self, start: str) -> float:
        """Return when the first message with that beginning arrived.

        Raises
        ------
        SystemExit
            If there was none, since the run then failed.
        """
        for when, line in self.lines:
            if line.startswith(start):
                return when
        raise SystemExit(f"the container must say {start!r}; it said: {' / '.join(line for _, line in self.lines)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--image", default=f"nsn2n:{__version__}")
    parser.add_argument("--shapes", nargs="*", default=["40x512x512", "200x512x512"], help="slices x rows x columns")
    parser.add_argument("--presets", nargs="+", default=["default"])
    parser.add_argument("--cpus", default="2")
    parser.add_argument("--memory", default="3g")
    parser.add_argument("--starts", type=int, default=3, help="how often the start-up is measured")
    parser.add_argument("--data", type=Path, default=DATA)
    arguments = parser.parse_args()
    print(f"{processor()}; {arguments.image} with {arguments.cpus} CPUs and {arguments.memory} of memory; seed 0")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        work.chmod(0o755)
        start_up(arguments, work)
        usage(arguments, work)


def processor() -> str:
    """Return the name of the processor, and the load from other programs on the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f} before the start"


def usage(arguments: argparse.Namespace, work: Path) -> None:
    """Print time and memory of whole runs."""
    inputs = {f"synthetic CT, {shape}": synthetic(shape, work / shape) for shape in arguments.shapes}
    study = arguments.data / "ct-phantom-study"
    if study.is_dir():
        inputs["CT phantom study, whole"] = study
    else:
        print(f"skipped: the real study needs {study}")
    table = Table("input", "preset", "exit code", "seconds", "peak MB", "with files kept, MB", "threads")
    for name, source in inputs.items():
        for preset in arguments.presets:
            run = run_container(arguments, source, work, preset)
            group = "" if run.group_peak_bytes is None else f"{run.group_peak_bytes / 1e6:.0f}"
            numbers = (f"{run.ended - run.asked:.1f}", f"{run.peak_bytes / 1e6:.0f}", group, str(run.threads))
            table.add_row(name, preset, str(run.code), *numbers)
    Console(width=140).print(table)


def start_up(arguments: argparse.Namespace, work: Path) -> None:
    """Print the time before the first message, and before work on the first series begins."""
    source = synthetic("3x32x32", work / "smallest")
    runs = [run_container(arguments, source, work, "fast") for _ in range(arguments.starts)]
    best = min(runs, key=lambda run: run.time_of(FIRST_LINE) - run.asked)
    profiled = run_container(arguments, source, work, "fast", "--env", "PYTHONPROFILEIMPORTTIME=1")
    first, at_work = best.time_of(FIRST_LINE), best.time_of(AT_WORK)
    imports = [import_seconds(lines) for lines in phases(profiled)]
    table = Table("start-up", "seconds", "of it imports (Python's -X importtime, which adds to them)")
    table.add_row("docker run to the first process", f"{best.started - best.asked:.2f}", "")
    table.add_row("to the first message", f"{first - best.started:.2f}", shown(imports[0]))
    table.add_row("docker run to the first message", f"{first - best.asked:.2f}", "")
    table.add_row("from there to the first series at work", f"{at_work - first:.2f}", shown(imports[1]))
    Console(width=140).print(table)


def phases(run: Run) -> tuple[list[str], list[str]]:
    """Return the messages up to the application's first, and from there to its work on the first series."""
    first, at_work = run.time_of(FIRST_LINE), run.time_of(AT_WORK)
    place = next(index for index, (_, line) in enumerate(run.lines) if line.startswith(FIRST_LINE))
    lines = [line for when, line in run.lines if when <= max(first, at_work)]
    return lines[:place], lines[place:]


def import_seconds(lines: Iterable[str]) -> Counter[str]:
    """Return the seconds that each package took to import, without the packages that it imports.

    Parameters
    ----------
    lines : iterable of str
        Output that includes the lines of ``-X importtime``: microseconds of the module itself, cumulative, name.
    """
    seconds: Counter[str] = Counter()
    for line in lines:
        match = re.match(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)", line)
        if match:
            name = match[2]
            package = "monai.deploy" if name.startswith("monai.deploy") else name.split(".")[0]
            seconds[package] += int(match[1]) / 1e6
    return seconds


def shown(seconds: Counter[str]) -> str:
    """Return the packages with the longest import times, and the sum, as text."""
    largest = ", ".join(f"{name} {value:.2f}" for name, value in seconds.most_common(SHOWN_PACKAGES))
    return f"{seconds.total():.2f}: {largest}"


def synthetic(shape: str, folder: Path) -> Path:
    """Write a CT series with noise of 25 HU on a bright disc, of a shape such as 40x512x512."""
    slices, rows, columns = (int(number) for number in shape.split("x"))
    random = np.random.default_rng(0)
    y, x = np.mgrid[:rows, :columns]
    inside = (y - rows / 2) ** 2 + (x - columns / 2) ** 2 < (min(rows, columns) / 3) ** 2
    disc_hw = np.where(inside, 40.0, -900.0)
    noisy = (disc_hw + random.normal(0, 25, (rows, columns)).astype(np.float32) for _ in range(slices))
    write_synthetic_series(np.stack(list(noisy)), folder, seed=shape)
    return folder


def run_container(arguments: argparse.Namespace, source: Path, work: Path, preset: str, *options: str) -> Run:
    """Run the image on a folder and discard its output."""
    settings = work / "app.yaml"
    settings.write_text(f"nsn2n: {{preset: {preset}, seed: 0}}\n")
    (inspected,) = json.loads(output_of(["docker", "image", "inspect", arguments.image]))
    with tempfile.TemporaryDirectory(dir=work) as output:
        os.chmod(output, 0o777)
        command = ["docker", "run", "--rm", *CONFINED, "--cpus", arguments.cpus, "--memory", arguments.memory, *options]
        places = {source.resolve(): "input:ro", output: "output", settings: "app.yaml:ro"}
        command += [word for here, there in places.items() for word in ("--volume", f"{here}:/var/holoscan/{there}")]
        command += ["--entrypoint", "python3", arguments.image]
        command += ["-I", "-S", "-c", WATCH, *inspected["Config"]["Entrypoint"]]
        asked = time.time()
        seen = json.loads(output_of(command))
    return Run(asked=asked, **{**seen, "lines": [(when, line) for when, line in seen["lines"]]})


def output_of(command: Sequence[str]) -> str:
    """Return the stdout of a command that succeeds.

    Raises
    ------
    SystemExit
        If it fails; the message is the command's error output.
    """
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise SystemExit(
            f"{' '.join(command[:3])} must succeed; got {result.returncode}: {result.stderr.strip()[-500:]}"
        )
    return result.stdout


if __name__ == "__main__":
    main()
