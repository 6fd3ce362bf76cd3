# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Loss of anatomical detail, contrast retention of faint lesions, and false structures of denoising methods.

    python benchmarks/anatomy.py [--cases ct-brain mr-thick] [--methods default smooth gaussian nlm tv bm4d]
                                 [--seeds 1] [--slices 12] [--crop 224] [--pictures FOLDER]

A word of --cases names a case, or all cases whose names begin with it. Even seeds are for tuning, odd ones for
reporting. benchmarks/README.md describes the cases and columns. Cases whose data is not available are skipped.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from anatomy_cases import ANATOMY
from anatomy_methods import GRIDS, KNOWN, denoised
from anatomy_pictures import panels, save_panels
from cases import MissingData
from faint import FAINT
from numpy.typing import NDArray
from peers import PRESETS
from pet import pet
from rich.console import Console
from rich.table import Table
from run import machine
from trial import Trial

Volume = NDArray[np.float32]

MAKERS: dict[str, Callable[[int, int, int], Trial]] = {
    **ANATOMY,
    **{name: lambda seed, slices, _, make=make: make(seed, slices) for name, make in FAINT.items()},
    "pet": lambda seed, slices, _: pet(seed, slices),
}
METHODS = ("default", "smooth", "gaussian")
WIDTH = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", default=[""], help=f"beginnings of {', '.join(MAKERS)}; default: all")
    parser.add_argument("--methods", nargs="+", choices=KNOWN, default=list(METHODS))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--slices", type=int, default=12, help="of each volume; twice as many of ct-faint, mr-air, pet")
    parser.add_argument("--crop", type=int, default=0, help="pixels of the middle of anatomy that are taken; 0: all")
    parser.add_argument("--pictures", type=Path, help="folder that gets a picture of each case")
    parser.add_argument("--compact", action="store_true", help="pictures are not enlarged, and JPEG")
    parser.add_argument("--tune", action="store_true", help="try settings of peers, print rmse; seeds should be even")
    options = parser.parse_args()
    names = [name for name in MAKERS if any(name.startswith(word) for word in options.cases)]
    if not names:
        parser.error(f"no case begins with {' or '.join(options.cases)}; there are {', '.join(MAKERS)}")
    print(machine(threads()), flush=True)
    for name in names:
        for seed in options.seeds:
            try:
                trial = MAKERS[name](seed, options.slices, options.crop)
            except MissingData as error:
                print(f"skipped: {error}", file=sys.stderr)
                break
            print_tuning(trial, seed, options.methods) if options.tune else compare(trial, seed, options)


def threads() -> int:
    """Return PyTorch's number of threads, which our presets use."""
    import torch

    return torch.get_num_threads()


def compare(trial: Trial, seed: int, options: argparse.Namespace) -> None:
    """Print a table for a trial, with a row for each method, for the input, and for the truth."""
    results: dict[str, Sequence[Volume]] = {"noisy": trial.noisy, "truth": trial.truth}
    reported, seconds = dict.fromkeys(results, ""), dict.fromkeys(results, "")
    for method in options.methods:
        started = time.perf_counter()
        results[method], reported[method] = denoised(trial, method, seed)
        seconds[method] = f"{time.perf_counter() - started:.0f}"
    measured = (method for method in results if method != "truth" or not trial.scan)
    figures = {method: trial.measure(results[method]) for method in measured}
    shape = " x ".join(map(str, trial.noisy[0].shape))
    columns = list(figures["noisy"])
    table = Table(
        "method", *columns, "reported: detail, discs, left, verdict", "s", title=f"{trial.name}, seed {seed}, {shape}"
    )
    for method, values in figures.items():
        table.add_row(method, *(_short(values[column]) for column in columns), reported[method], seconds[method])
    Console(width=WIDTH).print(table)
    if options.pictures is not None:
        ours = next((method for method in options.methods if method in PRESETS), None)
        peer = best_peer(trial, figures)
        if ours is None:
            ours, peer = peer, None
        if ours is not None:
            images = panels(trial, results, ours, peer)
            name = f"{trial.name}-seed-{seed}"
            if options.compact:
                save_panels(options.pictures / f"{name}.jpg", images, scale=1)
            else:
                save_panels(options.pictures / f"{name}.png", images)


def best_peer(trial: Trial, figures: Mapping[str, Mapping[str, float]]) -> str | None:
    """Return the best-ranked method that is not one of ours."""
    peers = {method: values[trial.rank] for method, values in figures.items() if method in (*GRIDS, "bm4d")}
    if not peers:
        return None
    return max(peers, key=peers.__getitem__) if trial.highest else min(peers, key=peers.__getitem__)


def print_tuning(trial: Trial, seed: int, methods: Sequence[str]) -> None:
    """Print the settings of a peer's grid with the lowest rmse, in ascending order."""
    tried = (method for method in methods if method in GRIDS and not trial.tuned_as)
    for method in tried:
        found = []
        for settings in GRIDS[method]:
            results, _ = denoised(trial, method, seed, settings)
            found.append((trial.measure(results)["rmse"], settings))
        found.sort(key=lambda pair: pair[0])
        best = ", ".join(f"{settings} {error:.4g}" for error, settings in found[:3])
        print(f"{trial.name}, seed {seed}, {method}: {best}", flush=True)


def _short(value: float) -> str:
    if value != value:
        return "-"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
