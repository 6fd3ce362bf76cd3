# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Distance of the stopping rule from the best number of steps of a fit.

    python benchmarks/stopping.py [--seed 1] [--cases ct-lowdose-full mr-rician-5 ...] [--steps 50 100 ...]

Each case is denoised by the preset `default`, then with fixed numbers of steps and no stopping rule. The measure is
PSNR in dB, in MR over tissue; for the scanned phantom it is the noise sd in its rods in HU, where lower is better.
"""

from __future__ import annotations

import argparse

from cases import CASES, Case, MissingData, make_case
from measures import measure
from rich.console import Console
from rich.table import Table

import nsn2n
from nsn2n.denoising import DenoiseResult

DOSES = ("full", "half", "quarter", "eighth")
PERCENTS = (5, 7, 9)
DEFAULT_CASES = (*(f"ct-lowdose-{dose}" for dose in DOSES), *(f"mr-rician-{part}" for part in PERCENTS), "ct-real")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="odd: the half for reporting")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=DEFAULT_CASES)
    parser.add_argument("--steps", type=int, nargs="+", default=[50, 100, 150, 200, 300, 400, 600])
    parser.add_argument("--size", choices=("tiny", "small", "full"), default="small", help="tiny: to see that it runs")
    parser.add_argument("--budget", type=float, help="seconds for each volume; no limit unless given")
    options = parser.parse_args()
    heads = ("case", "rule ends at", "with it", *map(str, options.steps), "rule from best")
    table = Table(*heads, title=f"preset default by steps, seed {options.seed}: PSNR, dB (ct-real: noise sd, HU)")
    for name in options.cases:
        try:
            case = make_case(name, options.size, options.seed, with_spots=False)
        except MissingData as missing:
            print(f"{name}: left out, {missing}")
            continue
        ruled = denoised(case, {}, options.budget)
        figures = [
            figure(case, denoised(case, {"steps": steps, "stop_gain": None}, options.budget)) for steps in options.steps
        ]
        own = figure(case, ruled)
        best = min(own, *figures) if case.truth is None else max(own, *figures)
        table.add_row(
            name, f"{len(ruled.loss)} steps", *(f"{value:.2f}" for value in (own, *figures)), f"{own - best:+.2f}"
        )
    Console(width=130).print(table)


def denoised(case: Case, fit: dict[str, object], budget_s: float | None) -> DenoiseResult:
    """Return the result of `default` on a case with these settings of the fit."""
    config = {"fit": fit, "budget_s": budget_s, "contrast_kept": False}
    return nsn2n.denoise(case.noisy, modality=case.modality, spacing_mm=case.spacing_mm, seed=case.seed, config=config)


def figure(case: Case, result: DenoiseResult) -> float:
    """Return the measure used to judge the case."""
    key = "rod_noise_sd" if case.truth is None else "psnr_tissue" if case.modality == "MR" else "psnr"
    return measure(case, result.volume)[key]


if __name__ == "__main__":
    main()
