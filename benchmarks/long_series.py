# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Time and memory of the whole command on long CT series, DICOM to DICOM: ``make bench-long``.

    python benchmarks/long_series.py [--input phantom scanned] [--slices 140] [--presets default fast] [--seed 1]
                                     [--memory 2G]

``phantom`` is the one of ``make demo`` in 512 x 512, with each slice scanned separately; ``scanned`` is the 40 slices
of the scanned phantom (``ct-real``), repeated back and forth, which also repeats the noise. Time and memory include
imports, reading and writing. Anonymous memory is what is no page of a file: the system cannot take it back. With
``--memory`` the volume is kept in files, which are among the other pages. Quality is measured on the slices in the
second half.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from cases import Case, MissingData, make_case
from measures import measure, psnr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from run import machine, run_job

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.synthetic.dicom_series import write_synthetic_series
from nsn2n.synthetic.phantom import make_phantom

Volume = NDArray[np.float32]
SIZE_PX = 512
SOFT_RANGE_HU = 400.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", choices=["phantom", "scanned"], default=["phantom", "scanned"])
    parser.add_argument("--slices", type=int, nargs="+", default=[140])
    parser.add_argument("--presets", nargs="+", default=["default"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--memory", help="as that of nsn2n denoise")
    parser.add_argument("--limit-s", type=float, default=7200)
    options = parser.parse_args()
    print(machine(options.threads), flush=True)
    table = Table(
        "input", "slices", "preset", "s", "cpu s", "peak MB", "anonymous MB", "volume MB", "before", "after", "sha256"
    )
    for name in options.input:
        for slices in options.slices:
            try:
                rows(table, name, slices, options)
            except MissingData as error:
                print(f"skipped: {error}", file=sys.stderr)
    Console(width=140).print(table)


def rows(table: Table, name: str, slices: int, options: argparse.Namespace) -> None:
    """Make a series, and add a row for each preset."""
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "source"
        if name == "phantom":
            study = make_phantom((slices, SIZE_PX, SIZE_PX), dose=0.25, seed=options.seed)
            truth, tissue = study.truth_dhw, study.soft_tissue_mask
            noisy, spacing_mm = study.noisy_dhw, study.spacing_mm

            def quality(volume: Volume) -> str:
                half = slice(slices // 2, slices)
                return f"{psnr(volume[half], truth[half], tissue[half], SOFT_RANGE_HU):.2f} dB"

        else:
            case = make_case("ct-real", "full", options.seed, with_spots=False)
            there_and_back = [*range(len(case.noisy)), *range(len(case.noisy) - 2, 0, -1)]
            order = np.resize(there_and_back, slices)
            noisy, spacing_mm = case.noisy[order], case.spacing_mm

            def quality(volume: Volume) -> str:
                return rods(case, volume[: len(case.noisy)])

        files = write_synthetic_series(noisy, source, spacing_mm=spacing_mm, seed="long")
        stored = read_series(files).stack.values
        before = quality(stored)
        for preset in options.presets:
            result = Path(folder) / preset
            words = ["-m", "nsn2n", "denoise", str(source), str(result), "--preset", preset, "--quiet"]
            words += ["--memory", options.memory] if options.memory else []
            used = run_job({"command": [sys.executable, *words], "anonymous": True}, options, Path(folder))
            denoised = read_series(sorted(result.glob("*/IM*.dcm")), allow_own_output=True).stack.values
            table.add_row(
                name, str(slices), preset, used["seconds"], used["cpu_seconds"], used["peak_mb"],
                used["anonymous_mb"], f"{stored.nbytes / 1e6:.0f}", before, quality(denoised),
                hashlib.sha256(denoised).hexdigest()[:8],
            )  # fmt: skip


def rods(case: Case, volume: Volume) -> str:
    """Return noise and mean in the rods, and edge steepness relative to the input, in the half of the case."""
    if len(volume) < len(case.noisy):
        return "-"
    found = measure(replace(case, truth=None), volume)
    return f"{found['rod_noise_sd']:.2f} HU, mean {found['rod_mean']:.1f}, edges {100 * found['edge_steepness']:.1f} %"


if __name__ == "__main__":
    main()
