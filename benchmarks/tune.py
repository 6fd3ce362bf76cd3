# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Choice of settings for peers that do not choose them themselves, on the half for tuning.

    python benchmarks/tune.py [--methods nlm tv bm4d curvature-flow] [--cases ...] [--size small|full]

Prints the PSNR over whole slices, so that edges count, for each setting and case. The setting with the best mean over
the cases of a modality is the one in peers.py.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import product

import numpy as np
from cases import Case, make_case
from measures import measure
from peers import Job, Run, Settings, bm4d, curvature_flow, nlm, tv
from rich.console import Console
from rich.table import Table
from run import estimate_sigma

NLM = tuple({"h": h, "known": known} for h, known in product((0.4, 0.6, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0), (0.0, 1.0)))
GRIDS: dict[str, tuple[Callable[[Settings], Run], tuple[Settings, ...]]] = {
    "nlm": (nlm, NLM),
    "tv": (tv, tuple({"weight": weight} for weight in (0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0))),
    "bm4d": (bm4d, tuple({"sigmas": factor} for factor in (0.8, 1.0, 1.2, 1.5, 2.0))),
    "curvature-flow": (curvature_flow, tuple({"iterations": count} for count in (1, 2, 3, 5, 10, 20, 40))),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", choices=list(GRIDS), default=list(GRIDS))
    parser.add_argument("--cases", nargs="+", default=["mr-rician-5", "mr-rician-9", "ct-lowdose-quarter"])
    parser.add_argument("--size", choices=["tiny", "small", "full"], default="small")
    options = parser.parse_args()
    cases = [make_case(name, options.size, seed=0, with_spots=False) for name in options.cases]
    for method in options.methods:
        make, grid = GRIDS[method]
        table = Table(method, *options.cases, "mean", title="PSNR, dB, half to tune")
        for settings in grid:
            found = [psnr_of(make(settings), case) for case in cases]
            words = ", ".join(f"{name} {value}" for name, value in settings.items())
            table.add_row(words, *(f"{value:.2f}" for value in (*found, np.mean(found))))
        Console(width=120).print(table)


def psnr_of(run: Run, case: Case) -> float:
    """Return the PSNR of a setting on a case."""
    job = Job(
        noisy=case.noisy, sigma=estimate_sigma(case.noisy), spacing_mm=case.spacing_mm, modality=case.modality,
        seed=case.seed, steps=0,
    )  # fmt: skip
    return measure(case, run(job))["psnr"]


if __name__ == "__main__":
    main()
