# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reported retention of faint discs (`nsn2n.DenoiseResult.contrast`), next to that of discs inserted into the source.

    python benchmarks/faint_discs.py [--presets default smooth] [--seeds 1] [--slices 24]

Uses the cylinder of anatomy.py with noise of 20 HU. The discs that a result reports on are inserted into the source at
the same places, and the source is denoised again, with a new fit. For each size and contrast, prints the percentage
of contrast that the result reports as kept, and the percentage that is kept.
"""

from __future__ import annotations

import argparse
from typing import Any

import cylinder
import numpy as np
from peers import PRESETS
from rich.console import Console
from rich.table import Table
from run import machine

import nsn2n
from nsn2n.contrast_kept import CONTRASTS_SD, DIAMETERS_MM
from nsn2n.noise.level import NoiseMap
from nsn2n.probes import place_probes

NOISE_HU, SPACING_MM, AIR_HU = 20, (2.0, 0.5, 0.5), -1000.0
Cells = dict[tuple[float, float], list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=["default", "smooth"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--budget", type=float, help="seconds for each volume; no limit unless given")
    options = parser.parse_args()
    print(machine(1))
    header = [f"{size:g} mm, {contrast:g} sd" for size in DIAMETERS_MM for contrast in CONTRASTS_SD]
    table = Table("preset", *header, title="contrast kept, %: reported / true")
    for preset in options.presets:
        reported: Cells = {}
        true: Cells = {}
        for seed in options.seeds:
            add_cells(preset, seed, options, reported, true)
        table.add_row(preset, *(_cell(reported, true, size, sd) for size in DIAMETERS_MM for sd in CONTRASTS_SD))
    Console(width=160).print(table)


def add_cells(preset: str, seed: int, options: argparse.Namespace, reported: Cells, true: Cells) -> None:
    """Denoise without and with discs, and add the reported and the true contrast retention of each kind."""
    facts: dict[str, Any] = {"spacing_mm": SPACING_MM, "modality": "CT", "preset": preset, "seed": seed}
    slices, config = options.slices, {"budget_s": options.budget}
    noisy = cylinder.stored(cylinder.flat(slices) + cylinder.noise(slices, NOISE_HU, seed))
    result = nsn2n.denoise(noisy, **facts, config=config)
    noise = NoiseMap(np.zeros((1, 1, 1), np.float32), result.noise_sd, result.measured.noise_sd_median)
    probes = place_probes(result.volume, noise, None, SPACING_MM, air=AIR_HU, seed=seed)
    probed = noisy.copy()
    probed[probes.place] = probes.put_into(noisy[probes.place])
    again = nsn2n.denoise(probed, **facts, config={**config, "contrast_kept": False})
    left = probes.measured((again.volume - result.volume)[probes.place])
    for found, cells in ((result.contrast, reported), (left, true)):
        for cell in found.cells if found else ():
            cells.setdefault((cell.diameter_mm, cell.contrast_sd), []).append(100 * cell.kept)


def _cell(reported: Cells, true: Cells, size: float, sd: float) -> str:
    if (size, sd) not in reported or (size, sd) not in true:
        return "-"
    return f"{np.mean(reported[size, sd]):.0f} / {np.mean(true[size, sd]):.0f}"


if __name__ == "__main__":
    main()
