# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Quality, time and memory of presets and peers on the same arrays, as tables: ``make bench``, ``make bench-peers``.

    python benchmarks/run.py [--methods ...] [--cases ...] [--size small|full] [--csv FILE [--resume]] [--plot FILE]

Each method runs in a separate process with the same number of threads. benchmarks/README.md describes the cases,
methods and columns. Cases whose data is not available are skipped.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import logging
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from cases import CASES, DATA, Case, MissingData, make_case, slices_of
from measures import measure
from numpy.typing import NDArray
from peers import METHODS, PACKAGES, PEERS, PRESETS
from plot import save_plot
from skimage.filters import threshold_otsu
from table import Results, Row, print_tables

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.noise.blocks import noise_sd_slice
from nsn2n.noise.level import estimate_noise

Volume = NDArray[np.float32]

GROUPS = {
    "presets": PRESETS,
    "peers": tuple(PEERS),
    "main": ("mr-rician-*", "ct-lowdose-*", "ct-real"),
    "few": ("mr-rician-5", "ct-lowdose-quarter", "ct-real"),
}
"""Names for groups of methods or cases."""
SEEDS = {"report": (1,), "tune": (0, 2)}
CAREAMICS_STEPS = {"tiny": 4, "small": 300, "full": 800}
"""Limited, so that CAREamics takes minutes and not hours."""
CAREAMICS_PYTHON = Path(sys.prefix) / "careamics" / "bin" / "python"
"""CAREamics requires a different PyTorch, so it has a separate environment within the one of the project."""
SERIES_CASE = "ct-dicom"
THREADS = (
    "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the selected methods and cases; return 1 if a method failed."""
    options = parse(arguments)
    logging.basicConfig(level=logging.WARNING)
    results = Results(options.csv, resume=options.resume)
    print(machine(options.threads), flush=True)
    if not options.show:
        run_all(options, results)
    print_tables(results.rows)
    if options.plot is not None:
        save_plot(results.rows, options.plot)
    failed = [row for row in results.rows if row.get("failure")]
    for row in failed:
        print(f"failed: {row['method']} on {row['case']}, seed {row['seed']}: {row['failure']}", file=sys.stderr)
    return 1 if failed else 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    known = f"patterns of names, or {', '.join(GROUPS)}"
    parser.add_argument("--methods", nargs="+", default=["presets"], help=f"{known}; default: presets")
    parser.add_argument("--cases", nargs="+", default=["few", SERIES_CASE], help=f"{known}; default: few {SERIES_CASE}")
    parser.add_argument("--size", choices=["tiny", "small", "full"], default="small")
    parser.add_argument("--half", choices=list(SEEDS), default="report", help="tune: even seeds, report: odd ones")
    parser.add_argument("--seeds", nargs="+", type=int, help="of this half; default: 1, or 0 2 to tune")
    parser.add_argument("--no-spots", action="store_true", help="leave out the run with spots: half the time")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)), help="of each method")
    parser.add_argument("--budget", type=float, help="seconds for the fits of our presets; no limit unless given")
    parser.add_argument("--limit-s", type=float, default=7200, help="a method that takes longer has failed")
    parser.add_argument("--csv", type=Path, help="gets each row as it is measured")
    parser.add_argument("--resume", action="store_true", help="go on with the rows that the file has")
    parser.add_argument("--show", action="store_true", help="measure nothing; show the rows of --csv --resume")
    parser.add_argument("--plot", type=Path, help="picture of quality over time")
    parser.add_argument("--list", action="store_true", help="name all cases and methods")
    options = parser.parse_args(arguments)
    if options.list:
        print("cases:", *CASES, SERIES_CASE, "\nmethods:", *METHODS)
        raise SystemExit(0)
    options.seeds = options.seeds or list(SEEDS[options.half])
    wrong = [seed for seed in options.seeds if seed % 2 != SEEDS[options.half][0] % 2]
    if wrong:
        parser.error(f"seeds to {options.half} must be {'odd' if options.half == 'report' else 'even'}; got {wrong}")
    options.cases = chosen(parser, "case", options.cases, [*CASES, SERIES_CASE])
    options.methods = ["noisy", *chosen(parser, "method", options.methods, list(METHODS))]
    if (options.resume or options.show) and options.csv is None:
        parser.error("--resume and --show need --csv")
    options.resume |= options.show
    return options


def chosen(parser: argparse.ArgumentParser, what: str, patterns: Iterable[str], names: list[str]) -> list[str]:
    """Return the names that match patterns and group names, without duplicates."""
    found: dict[str, None] = {}
    for pattern in [part for word in patterns for part in GROUPS.get(word, (word,))]:
        matching = [name for name in names if fnmatch.fnmatch(name, pattern) and ("/" in pattern or "/" not in name)]
        if not matching:
            parser.error(f"there is no {what} {pattern!r}; --list names them all")
        found |= dict.fromkeys(matching)
    return list(found)


def machine(threads: int) -> str:
    """Return a description of the machine for the results."""
    cpu = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    return f"machine: {cpu}, {threads} threads, {platform.platform()}, Python {platform.python_version()}"


def run_all(options: argparse.Namespace, results: Results) -> None:
    for name in options.cases:
        for seed in options.seeds:
            key = {"case": name, "size": options.size, "seed": str(seed), "threads": str(options.threads)}
            missing = [method for method in options.methods if not results.has({**key, "method": method})]
            if not missing:
                continue
            try:
                rows = series_rows if name == SERIES_CASE else case_rows
                for row in rows(name, seed, missing, options):
                    results.add({**key, "half": options.half, **row})
            except MissingData as error:
                print(f"skipped: {error}", flush=True)
                break


def case_rows(name: str, seed: int, methods: list[str], options: argparse.Namespace) -> Iterator[Row]:
    """Yield a row for each method on one case."""
    case = make_case(name, options.size, seed, with_spots=not options.no_spots)
    shape = " x ".join(map(str, case.noisy.shape))
    sigma = estimate_sigma(case.noisy)
    with tempfile.TemporaryDirectory() as folder:
        for method in methods:
            known: Row = {"method": method, "shape": shape, "sigma": f"{sigma:.5g}"}
            try:
                used, output, with_spots = outputs(case, method, sigma, options, Path(folder))
            except (subprocess.SubprocessError, OSError) as error:
                yield {**known, "failure": reason(error)}
                continue
            measured = measure(case, output, with_spots)
            yield {**known, **used, **{key: f"{value:.6g}" for key, value in measured.items()}}


def outputs(
    case: Case, method: str, sigma: float, options: argparse.Namespace, folder: Path
) -> tuple[Row, Volume, Volume | None]:
    """Return resource use and the output of a method for a case's input, without and with spots."""
    if method == "noisy":
        return {}, case.noisy, case.with_spots
    facts = {
        "sigma": sigma, "spacing_mm": case.spacing_mm, "modality": case.modality, "seed": case.seed,
        "steps": CAREAMICS_STEPS[case.size], "budget_s": options.budget,
    }  # fmt: skip
    used, output = run_method(method, case.noisy, facts, options, folder)
    if case.with_spots is None:
        return used, output, None
    facts["sigma"] = estimate_sigma(case.with_spots)
    return used, output, run_method(method, case.with_spots, facts, options, folder)[1]


def run_method(
    method: str, volume: Volume, facts: dict[str, object], options: argparse.Namespace, folder: Path
) -> tuple[Row, Volume]:
    job = {"method": method, "input": f"{folder}/input.npy", "output": f"{folder}/output.npy", "facts": facts}
    np.save(job["input"], volume)
    used = run_job(job, options, folder)
    return used, np.load(job["output"])


def run_job(job: dict[str, object], options: argparse.Namespace, folder: Path) -> Row:
    """Run a separate process (one.py) and return its seconds and memory."""
    description, report = folder / "job.json", folder / "report.json"
    description.write_text(json.dumps({**job, "report": str(report)}))
    environment = {**os.environ, **dict.fromkeys(THREADS, str(options.threads))}
    own = PACKAGES.get(str(job.get("method"))) == "careamics"
    python = CAREAMICS_PYTHON if own else sys.executable
    command = [str(python), str(Path(__file__).with_name("one.py")), str(description)]
    with subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _, errors = process.communicate(timeout=options.limit_s)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # including its child processes
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=errors)
    used = json.loads(report.read_text())
    return {name: value if isinstance(value, str) else f"{value:.4g}" for name, value in used.items()}


def series_rows(name: str, seed: int, methods: list[str], options: argparse.Namespace) -> Iterator[Row]:
    """Yield rows for presets on the scanned series as a user runs them: all of ``nsn2n denoise``, DICOM to DICOM."""
    case = make_case("ct-real", "full", seed, with_spots=False)
    shape = " x ".join(map(str, case.noisy.shape))
    for method in methods:
        known: Row = {"method": method, "shape": shape}
        if method == "noisy":
            yield {**known, **{key: f"{value:.6g}" for key, value in measure(case, case.noisy).items()}}
        if method not in PRESETS:
            continue
        with tempfile.TemporaryDirectory() as folder:
            source, result = DATA / "ct-phantom-study" / "S2030", Path(folder) / "denoised"
            # Forced, since the structure check rejects the result of `paper` on CT, which is to be measured here.
            words = [
                "-m",
                "nsn2n",
                "denoise",
                str(source),
                str(result),
                "--preset",
                method,
                "--seed",
                str(seed),
                "--force",
            ]
            try:
                used = run_job({"command": [sys.executable, *words, "--quiet", "--force"]}, options, Path(folder))
            except (subprocess.SubprocessError, OSError) as error:
                yield {**known, "failure": reason(error)}
                continue
            output = read_series(slices_of(next(result.glob("2.25.*"))), allow_own_output=True).stack.values
        yield {**known, **used, **{key: f"{value:.6g}" for key, value in measure(case, output).items()}}


def estimate_sigma(volume_dhw: Volume) -> float:
    """Return the noise sd given to all methods: the median of its local estimates (`nsn2n.noise.level`) in the object.

    The object is what is above Otsu's threshold: the noise in air differs from that in tissue, in MR as in CT.
    """
    blocks = estimate_noise(volume_dhw)
    noise_sd = np.stack([noise_sd_slice(slice_hw, volume_dhw.shape[1:]) for slice_hw in blocks])
    object_dhw = volume_dhw > threshold_otsu(volume_dhw)
    found = noise_sd[object_dhw & (noise_sd > 0)]
    # A volume without noise: an sd too small to remove anything, but nonzero, since methods divide by it.
    return float(np.median(found)) if found.size else 1e-6 * float(np.ptp(volume_dhw))


def reason(error: Exception) -> str:
    """Return one line about a process that failed."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took more than {error.timeout:.0f} s"
    if isinstance(error, subprocess.CalledProcessError):
        lines = [line for line in error.stderr.splitlines() if line.strip()]
        return lines[-1].strip() if lines else f"exit status {error.returncode}"
    return str(error)


if __name__ == "__main__":
    sys.exit(main())
