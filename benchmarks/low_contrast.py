# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Contrast retention of low-contrast inserts that extend through several slices and are not visible in a single one.

    python benchmarks/low_contrast.py [--seeds 1 3 5] [--methods default fast nlm tv] [--size full]

The phantom of ``make demo`` at its size and dose (24 x 256 x 256, a quarter) has round inserts in soft tissue. Their
contrast, in the truth and in each result, is the mean of their inner part minus that of the surrounding tissue. Prints
the mean over the seeds.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import METHODS, Job
from rich.console import Console
from rich.table import Table
from run import estimate_sigma

from nsn2n.synthetic.parallel_beam import centers_mm
from nsn2n.synthetic.phantom import SOFT_TISSUE_HU, Ellipsoid, PhantomStudy, make_phantom, phantom_ellipsoids

Place = tuple[NDArray[np.bool_], NDArray[np.bool_]]

SHAPES, DOSE = {"tiny": (12, 96, 96), "full": (24, 256, 256)}, 0.25
STORED_HU = (-1024, 3071)
LOW_HU = 30.0
FEWEST_VOXELS = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 5])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=["default", "fast", "nlm", "tv"])
    parser.add_argument("--size", choices=SHAPES, default="full", help="tiny: to see that it runs")
    options = parser.parse_args()
    noises: dict[str, list[float]] = {}
    contrasts: dict[str, list[list[float]]] = {}
    for seed in options.seeds:
        study = make_phantom(SHAPES[options.size], dose=DOSE, seed=seed)
        places = inserts(study)
        noisy = np.clip(np.rint(study.noisy_dhw), *STORED_HU).astype(np.float32)
        facts: dict[str, Any] = {"spacing_mm": study.spacing_mm, "modality": "CT", "seed": seed, "steps": 300}
        job = Job(noisy=noisy, sigma=estimate_sigma(noisy), **facts)
        results = {name: METHODS[name]()(job) for name in options.methods}
        for name, volume in {"truth": study.truth_dhw, "noisy": noisy, **results}.items():
            noises.setdefault(name, []).append(float(np.std((volume - study.truth_dhw)[study.soft_tissue_mask])))
            contrasts.setdefault(name, []).append([contrast(volume, *place) for place in places])
    slices = [int(inner.any(axis=(1, 2)).sum()) for inner, _ in places]
    table = Table("method", "noise, HU", *(f"through {count}" for count in slices), title="contrast, HU, of inserts")
    for name, values in contrasts.items():
        means = np.mean(values, axis=0)
        table.add_row(name, f"{np.mean(noises[name]):.1f}", *(f"{value:.1f}" for value in means))
    Console(width=100).print(table)


def inserts(study: PhantomStudy) -> list[Place]:
    """Return the inner part of each insert, and adjacent soft tissue."""
    depth, height, width = (size * step for size, step in zip(study.truth_dhw.shape, study.spacing_mm, strict=True))
    places = (
        inner_and_around(part, study.truth_dhw, study.spacing_mm) for part in phantom_ellipsoids((depth, height, width))
    )
    return [place for place in places if place is not None]


def contrast(volume: NDArray[np.float32], inner: NDArray[np.bool_], around: NDArray[np.bool_]) -> float:
    """Return the mean of one region minus that of another, HU."""
    return float(volume[inner].mean() - volume[around].mean())


def inner_and_around(
    part: Ellipsoid, truth: NDArray[np.float32], spacing_mm: tuple[float, float, float]
) -> Place | None:
    """Return the inner part of an insert, and adjacent soft tissue; None for other parts of the phantom."""
    if abs(part.hu) > LOW_HU:
        return None
    axes = np.ix_(*(centers_mm(size, step) for size, step in zip(truth.shape, spacing_mm, strict=True)))
    squares = zip(axes, part.center_zyx_mm, part.semi_axes_zyx_mm, strict=True)
    radius = np.sqrt(sum(((axis - center) / semi) ** 2 for axis, center, semi in squares))
    inner = radius < 0.8
    even = np.abs(truth - SOFT_TISSUE_HU) < 1
    around = (radius > 1.3) & (radius < 2.5) & even & inner.any(axis=(1, 2))[:, None, None]
    return (inner, around) if min(inner.sum(), around.sum()) >= FEWEST_VOXELS else None


if __name__ == "__main__":
    main()
