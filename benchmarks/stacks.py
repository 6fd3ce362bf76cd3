# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Handling of stacks that are not one volume of aligned slices: a tilted gantry, several volumes.

    python benchmarks/stacks.py --preset fast --seed 0

prints PSNR in tissue, dB, of the MR head with Rician noise of 5 %: sheared by a number of pixels per slice, with and
without alignment of its slices; and as several volumes of decreasing signal, with separate fits or one shared fit.
"""

from __future__ import annotations

import argparse
import math
from typing import Any

import numpy as np
from cases import TISSUE, MissingData, Volume, _mr_head, add_rician, half_of
from measures import psnr
from scipy import ndimage

from nsn2n import denoise

SIGMA = 0.05
LEAN_PX = (0.5, 1.7, 3.0)
"""Shift in rows from one slice to the next; a head scan with a gantry tilt of 18 degrees has about 1.7."""
VOLUMES = 4
DECAY = 0.3
"""Each volume has the signal of the previous one times exp(-0.3), like a later echo."""


def leaning(clean_dhw: Volume, lean_px: float) -> Volume:
    """Return the object as a stack whose slices are each shifted by `lean_px` rows; margins are filled with air."""
    depth = len(clean_dhw)
    margin = math.ceil(abs(lean_px) * depth / 2) + 2
    wide = np.pad(clean_dhw, ((0, 0), (margin, margin), (0, 0)))
    moved = [ndimage.shift(slice_hw, (-lean_px * (z - depth // 2), 0), order=3) for z, slice_hw in enumerate(wide)]
    return np.clip(np.stack(moved), 0, None).astype(np.float32)


def tilt(clean: Volume, options: dict[str, Any], seed: int) -> None:
    """Print the gain from aligning the slices of a sheared stack."""
    for lean_px in (0.0, *LEAN_PX):
        truth = leaning(clean, lean_px)
        noisy, tissue = add_rician(truth, SIGMA, seed), truth > TISSUE
        shears = {"as it lies": None, **({"moved": (lean_px, 0.0)} if lean_px else {})}
        found = {name: denoise(noisy, shear_px=shear, **options).volume for name, shear in shears.items()}
        figures = {"noisy": noisy, **found}
        shown = ", ".join(f"{name} {psnr(volume, truth, tissue):.2f}" for name, volume in figures.items())
        print(f"leaning by {lean_px} px: {shown}", flush=True)


def volumes(clean: Volume, options: dict[str, Any], seed: int) -> None:
    """Print the gain from one fit for all volumes, without the two slices at each end, next to another volume."""
    depth = len(clean)
    truths = [clean * np.float32(math.exp(-DECAY * index)) for index in range(VOLUMES)]
    noisy = np.concatenate([add_rician(truth, SIGMA, seed + 2 * index) for index, truth in enumerate(truths)])
    apart = denoise(noisy, parts=(depth,) * VOLUMES, **options)
    together = denoise(noisy, **options)
    tissue = (clean > TISSUE)[2:-2]
    for index, truth in enumerate(truths):
        inner = slice(index * depth + 2, (index + 1) * depth - 2)
        figures = {"noisy": noisy, "a fit for each": apart.volume, "one fit": together.volume}
        shown = ", ".join(f"{name} {psnr(v[inner], truth[2:-2], tissue):.2f}" for name, v in figures.items())
        print(f"volume {index + 1} of {VOLUMES}: {shown}", flush=True)
    print(f"seconds: a fit for each {apart.measured.seconds}, one fit {together.measured.seconds}")


def main() -> None:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])  # type: ignore[union-attr]
    parser.add_argument("--preset", default="fast")
    parser.add_argument("--seed", type=int, default=0, help="even: the slices for tuning; odd: those for reporting")
    parser.add_argument("--only", choices=["tilt", "volumes"])
    parser.add_argument("--size", choices=["tiny", "small", "full"], default="small")
    parser.add_argument("--budget", type=float, help="seconds for each volume; no limit unless given")
    arguments = parser.parse_args()
    try:
        clean, spacing_mm = _mr_head(arguments.size, half_of(arguments.seed))
    except MissingData as error:
        parser.error(str(error))
    options = {"spacing_mm": spacing_mm, "modality": "MR", "preset": arguments.preset, "seed": arguments.seed}
    options["config"] = {"budget_s": arguments.budget}
    for name, run in (("tilt", tilt), ("volumes", volumes)):
        if arguments.only in (None, name):
            run(clean, options, arguments.seed)


if __name__ == "__main__":
    main()
