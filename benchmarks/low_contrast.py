# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is left of inserts of low contrast, through several slices, which no single slice shows.

    python benchmarks/low_contrast.py [--seeds 1] [--presets default fast]

The phantom of ``make demo`` at its size and dose (24 x 256 x 256, a quarter) has round inserts in soft tissue. Their
contrast, in the truth and in each result, is the mean of their inner part minus that of the tissue around them.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

import nsn2n
from nsn2n._parallel_beam import centers_mm
from nsn2n.phantom import SOFT_TISSUE_HU, Ellipsoid, make_phantom, phantom_ellipsoids

SHAPE, DOSE = (24, 256, 256), 0.25
STORED_HU = (-1024, 3071)
LOW_HU = 30.0
FEWEST_VOXELS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    parser.add_argument("--presets", nargs="+", default=["default", "fast"])
    options = parser.parse_args()
    for seed in options.seeds:
        study = make_phantom(SHAPE, dose=DOSE, seed=seed)
        noisy = np.clip(np.rint(study.noisy_dhw), *STORED_HU).astype(np.float32)
        noise = float(np.std((noisy - study.truth_dhw)[study.soft_tissue_mask]))
        volumes = {"truth": study.truth_dhw, "noisy": noisy}
        for preset in options.presets:
            result = nsn2n.denoise(noisy, spacing_mm=study.spacing_mm, modality="CT", preset=preset, seed=seed)
            volumes[preset] = result.volume
        table = Table(
            "diameter, mm", "slices", *(f"{name}, HU" for name in volumes), title=f"seed {seed}, noise {noise:.0f} HU"
        )
        extent_mm = tuple(size * step for size, step in zip(SHAPE, study.spacing_mm, strict=True))
        for part in phantom_ellipsoids((extent_mm[0], extent_mm[1], extent_mm[2])):
            places = inner_and_around(part, study.truth_dhw, study.spacing_mm)
            if places is None:
                continue
            inner, around = places
            shown = (float(volume[inner].mean() - volume[around].mean()) for volume in volumes.values())
            slices = int(inner.any(axis=(1, 2)).sum())
            table.add_row(f"{2 * part.semi_axes_zyx_mm[1]:.0f}", str(slices), *(f"{value:.1f}" for value in shown))
        Console(width=100).print(table)


def inner_and_around(
    part: Ellipsoid, truth: NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """The inner part of an insert, and soft tissue beside it; None for other parts of the phantom."""
    if abs(part.hu) > LOW_HU:
        return None
    axes = np.ix_(*(centers_mm(size, step) for size, step in zip(SHAPE, spacing_mm, strict=True)))
    squares = zip(axes, part.center_zyx_mm, part.semi_axes_zyx_mm, strict=True)
    radius = np.sqrt(sum(((axis - center) / semi) ** 2 for axis, center, semi in squares))
    inner = radius < 0.8
    even = np.abs(truth - SOFT_TISSUE_HU) < 1
    around = (radius > 1.3) & (radius < 2.5) & even & inner.any(axis=(1, 2))[:, None, None]
    return (inner, around) if min(inner.sum(), around.sum()) >= FEWEST_VOXELS else None


if __name__ == "__main__":
    main()
