# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Quality, time and memory of the presets, in one run on the same input: ``make bench``.

    python benchmarks/run.py [--presets default fast paper] [--seed 0] [--data DIR] [--csv FILE]

Cases on real data need DIR (``../shared/data`` beside the checkout, or the variable NSN2N_TEST_DATA); the phantom's
case needs nothing. Each line names its input; time is wall time on the machine that the first line names.
"""

from __future__ import annotations

import argparse
import csv
import logging
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import torch
from measures import (
    add_spots,
    contrast_kept,
    edge_steepness,
    find_rods,
    place_spots,
    psnr,
    rod_noise,
)
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import nsn2n
from nsn2n.dicom.reader import read_series
from nsn2n.phantom import make_phantom

Volume = NDArray[np.float32]
Row = dict[str, str]

# A process of its own starts the measured one: a child's peak memory counts that of the process that it comes from.
MEASURED = """
import resource, subprocess, sys, time
started = time.perf_counter()
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)
sys.exit(code)
"""

SPOT_NOISE_SDS = 5
TISSUE = 0.08


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", default=["default", "fast", "paper"])
    parser.add_argument("--cases", nargs="+", default=["phantom", "mr", "ct"], choices=["phantom", "mr", "ct"])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, default=default_data())
    parser.add_argument("--csv", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    print(f"machine: {cpu_name()}, {torch.get_num_threads()} threads, {platform.platform()}, torch {torch.__version__}")
    rows: list[Row] = []
    runners = {"phantom": phantom_rows, "mr": mr_rows, "ct": ct_rows}
    for case in arguments.cases:
        rows += show(list(runners[case](arguments)))
    if arguments.csv is not None:
        write_csv(arguments.csv, rows)


def default_data() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    return Path(os.environ.get("NSN2N_TEST_DATA", beside))


def cpu_name() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def phantom_rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """Low-dose CT phantom with known truth, 24 x 256 x 256."""
    study = make_phantom(dose=0.25, seed=arguments.seed)
    soft = study.soft_tissue_mask

    def row(method: str, volume: Volume, seconds: str) -> Row:
        error = (volume - study.truth_dhw)[soft]
        return {
            "case": "phantom, quarter dose",
            "method": method,
            "PSNR dB (range 400 HU)": f"{psnr(volume, study.truth_dhw, soft, 400):.2f}",
            "noise sd HU": f"{error.std():.1f}",
            "mean error HU": f"{error.mean():+.2f}",
            "seconds": seconds,
        }

    yield row("noisy", study.noisy_dhw, "")
    for preset in arguments.presets:
        volume, seconds = timed_denoise(study.noisy_dhw, preset, arguments.seed, "CT")
        yield row(preset, volume, f"{seconds:.1f}")


def mr_rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """MR head, slices 60-107, rows 40-199, columns 20-171, Rician noise of 5 %."""
    path = arguments.data / "mr-t1-head" / "t1.nii.gz"
    if not path.is_file():
        print(f"skipped: the MR case needs {path}")
        return
    clean = mr_head(path)
    tissue = clean > TISSUE
    sigma = 0.05
    noisy = add_rician(clean, sigma, arguments.seed)

    def row(method: str, volume: Volume, seconds: str, spots: dict[int, str]) -> Row:
        return {
            "case": "MR, Rician 5 %",
            "method": method,
            "tissue PSNR dB": f"{psnr(volume, clean, tissue):.2f}",
            "PSNR dB": f"{psnr(volume, clean):.2f}",
            **{f"{size} px spots kept %": spots.get(size, "100") for size in (3, 5)},
            "seconds": seconds,
        }

    yield row("noisy", noisy, "", {})
    for preset in arguments.presets:
        volume, seconds = timed_denoise(noisy, preset, arguments.seed, "MR")
        kept = {}
        for size in (3, 5):
            spots = place_spots(tissue, size)
            contrast = SPOT_NOISE_SDS * sigma
            with_spots = add_rician(add_spots(clean, spots, contrast), sigma, arguments.seed)
            output, _ = timed_denoise(with_spots, preset, arguments.seed, "MR")
            kept[size] = f"{100 * contrast_kept(output, volume, spots, contrast):.0f}"
        yield row(preset, volume, f"{seconds:.1f}", kept)


def ct_rows(arguments: argparse.Namespace) -> Iterator[Row]:
    """S2030 of the CT phantom study, 40 x 512 x 512, from DICOM to DICOM by the command line."""
    study = arguments.data / "ct-phantom-study"
    if not study.is_dir():
        print(f"skipped: the CT case needs {study}")
        return
    noisy = read_series(slices_of(study / "S2030")).volume_dhw
    rods = find_rods(read_series(slices_of(study / "S2020")).volume_dhw)
    steepness = edge_steepness(noisy, rods)

    def row(method: str, volume: Volume, seconds: str, memory: str) -> Row:
        sd, mean = rod_noise(volume, rods)
        return {
            "case": "CT, S2030",
            "method": method,
            "rod noise sd HU": f"{sd:.2f}",
            "rod mean HU": f"{mean:.2f}",
            "edge %": f"{100 * edge_steepness(volume, rods) / steepness:.1f}",
            "seconds": seconds,
            "peak MB": memory,
        }

    yield row("noisy", noisy, "", "")
    for preset in arguments.presets:
        volume, seconds, peak_mb = run_command(study / "S2030", preset, arguments.seed)
        yield row(preset, volume, f"{seconds:.1f}", f"{peak_mb:.0f}")


def mr_head(path: Path) -> Volume:
    """Return the clean MR volume, shape (48, 160, 152), 1 at its 99.9th percentile."""
    image = nibabel.load(path)
    values = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    values /= np.percentile(values, 99.9)
    axial = values.transpose(2, 1, 0)
    return np.ascontiguousarray(axial[60:108, 40:200, 20:172], dtype=np.float32)


def add_rician(clean: Volume, sigma: float, seed: int) -> Volume:
    """Return the magnitude of the volume with Gaussian noise in its real and imaginary part."""
    random = np.random.default_rng(seed)
    real = clean + sigma * random.standard_normal(clean.shape)
    imaginary = sigma * random.standard_normal(clean.shape)
    return np.hypot(real, imaginary).astype(np.float32)


def timed_denoise(noisy: Volume, preset: str, seed: int, modality: str) -> tuple[Volume, float]:
    started = time.perf_counter()
    result = nsn2n.denoise(noisy, preset=preset, seed=seed, modality=modality)  # type: ignore[arg-type]
    return result.volume, time.perf_counter() - started


def slices_of(folder: Path) -> list[Path]:
    """The slices of a series folder; its index file is none."""
    return sorted(path for path in folder.iterdir() if path.name.startswith("I"))


def run_command(series: Path, preset: str, seed: int) -> tuple[Volume, float, float]:
    """Run ``nsn2n denoise`` on a series as a process of its own; return its result, seconds and peak MB."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["-m", "nsn2n", "denoise", str(series), folder, "--preset", preset, "--seed", str(seed), "--quiet"]
        report = subprocess.run(
            [sys.executable, "-c", MEASURED, sys.executable, *command], stdout=subprocess.PIPE, text=True, check=False
        )
        if report.returncode != 0:
            raise SystemExit(f"nsn2n denoise {series} must succeed; got exit status {report.returncode}")
        seconds, peak_mb = map(float, report.stdout.split())
        volume = read_series(sorted(Path(folder).rglob("*.dcm")), allow_own_output=True).volume_dhw
    return volume, seconds, peak_mb


def show(rows: list[Row]) -> list[Row]:
    if rows:
        table = Table(*rows[0], title=None)
        for row in rows:
            table.add_row(*row.values())
        Console(width=140).print(table)
    return rows


def write_csv(path: Path, rows: list[Row]) -> None:
    names = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
