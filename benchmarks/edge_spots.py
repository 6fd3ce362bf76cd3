# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Contrast retention of small single-slice spots on edges, where an edge filter could mistake them for noise.

    python benchmarks/edge_spots.py [--seed 1] [--cases ct-lowdose-full ct-real] [--methods default nlm tv]

An edge is where values within 5 x 5 pixels of the mean of five slices differ by more than 10 noise sd. Prints the mean
contrast kept by the spots, and that kept by the tenth with the lowest retention, in percent of what was added.
"""

from __future__ import annotations

import argparse

import numpy as np
from cases import CASES, Case, MissingData, make_case
from numpy.typing import NDArray
from peers import METHODS, Job
from rich.console import Console
from rich.table import Table
from run import estimate_sigma
from scipy import ndimage
from spots import REACH_PX, Kind, Spot, add_spots, place_spots

from nsn2n.filters.edge_filter import edge_share

KINDS = tuple(Kind(px, sds, 1) for sds in (5, 10) for px in (2, 3, 5))
EDGE_SD, SLICES = 6.0, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="odd: the half for reporting")
    parser.add_argument("--cases", nargs="+", choices=CASES, default=["ct-lowdose-full", "ct-real"])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["default", "nlm", "tv"])
    parser.add_argument("--size", choices=("tiny", "small", "full"), default="small", help="tiny: to see that it runs")
    options = parser.parse_args()
    heads = [f"{kind.noise_sds} sd, {kind.diameter_px} px" for kind in KINDS]
    for name in options.cases:
        try:
            case = make_case(name, options.size, options.seed, with_spots=False)
        except MissingData as missing:
            print(f"{name}: left out, {missing}")
            continue
        spots = place_spots(edges(case), case.noise_sd, slices=case.measured, kinds=KINDS)
        table = Table("method", *heads, title=f"{name}: contrast kept by spots on edges, mean / least tenth, %")
        for method in options.methods:
            table.add_row(method, *kept(case, method, spots))
        Console(width=110).print(table)


def edges(case: Case) -> NDArray[np.bool_]:
    """Return where spots may be placed: the edges, dilated since `place_spots` stays away from the border of a mask."""
    mean = ndimage.uniform_filter1d(case.noisy, SLICES, axis=0)
    found = np.stack([edge_share(*pair, EDGE_SD) for pair in zip(mean, case.noise_sd, strict=True)]) == 1
    return np.asarray(ndimage.binary_dilation(found, np.ones((1, 2 * REACH_PX + 1, 2 * REACH_PX + 1))))


def kept(case: Case, method: str, spots: list[Spot]) -> list[str]:
    """Return the contrast kept by each kind of spot, as text."""

    def denoised(noisy: NDArray[np.float32]) -> NDArray[np.float32]:
        job = Job(
            noisy=noisy, sigma=sigma, spacing_mm=case.spacing_mm, modality=case.modality, seed=case.seed, steps=300
        )  # fmt: skip
        return METHODS[method]()(job)

    sigma = estimate_sigma(case.noisy)
    difference = denoised(add_spots(case.noisy, spots)) - denoised(case.noisy)
    texts = []
    for kind in KINDS:
        fractions = [100 * float(spot.of(difference).mean()) / spot.contrast for spot in spots if spot.kind == kind]
        texts.append(f"{np.mean(fractions):.0f} / {np.percentile(fractions, 10):.0f}" if fractions else "")
    return texts


if __name__ == "__main__":
    main()
