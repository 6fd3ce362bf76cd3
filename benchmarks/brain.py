# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Detail of a brain in CT-like noise: how much of it each method takes with the noise.

    python benchmarks/brain.py [--seeds 1] [--methods default smooth nlm tv gaussian] [--slices 12]

The anatomy is that of the MR head: its signal is mapped to HU (fluid 8, white matter 28, gray matter 38), slices are
averaged to thick ones, and noise of a soft kernel's spectrum is put on it. Even seeds take the lower half of the
slices, for tuning, odd ones the upper half, for reporting. Printed, in the brain:

rmse   error, HU
detail percent lost of the detail finer than 6 px: what was removed, regressed on that of the truth. Noise knows nothing
       of it, so that 0 means that only noise was removed
fine   the same, finer than 2.5 px
left   standard deviation of the error that no regression on the truth explains: the noise that is left, HU
told   of this program's presets: detail and left as it tells them itself, of a simulated copy, and its verdict
"""

from __future__ import annotations

import argparse
import time
from typing import Any, NamedTuple

import nibabel
import numpy as np
from cases import DATA
from numpy.typing import NDArray
from peers import METHODS, PRESETS, Job
from rich.console import Console
from rich.table import Table
from run import estimate_sigma
from scipy import ndimage

import nsn2n

Volume = NDArray[np.float32]

HEAD = DATA / "mr-t1-head" / "t1.nii.gz"
MR_SIGNAL = (0.0, 0.12, 0.30, 0.45, 0.55, 0.75, 0.90, 1.30)
HU = (8.0, 8.0, 20.0, 38.0, 37.0, 28.0, 25.0, 20.0)
AIR_HU = -1000.0
HEAD_FROM = 0.12
ZOOM = 2
"""Pixels of the CT in one of the MR."""
CASES = {"5 mm, noise 4 HU": (5, 4.0), "1 mm, noise 10 HU": (1, 10.0)}
DETAIL_PX, FINE_PX = 6.0, 2.5
GAUSSIAN_PX = 1.5
MARGIN_PX = 24


class Brain(NamedTuple):
    """A case; arrays have the shape (D, H, W)."""

    truth: Volume
    noisy: Volume
    inside: NDArray[np.bool_]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1])
    known = [*METHODS, "gaussian"]
    parser.add_argument(
        "--methods", nargs="+", choices=known, default=["default", "smooth", "nlm", "tv", "gaussian"]
    )  # fmt: skip
    parser.add_argument("--slices", type=int, default=12)
    options = parser.parse_args()
    if not HEAD.is_file():
        raise SystemExit(f"needs {HEAD}; benchmarks/README.md says what it is.")
    table = Table("case", "seed", "method", "rmse, HU", "detail, %", "fine, %", "left, HU", "told: %, HU", "s")
    for name, (thick_mm, noise_hu) in CASES.items():
        for seed in options.seeds:
            brain = make_brain(thick_mm, noise_hu, seed, options.slices)
            for method in options.methods:
                started = time.perf_counter()
                result, told = denoised(method, brain.noisy, thick_mm, seed)
                seconds = f"{time.perf_counter() - started:.0f}"
                figures = [
                    f"{value:.{digits}f}" for value, digits in zip(scores(brain, result), (2, 1, 1, 2), strict=True)
                ]
                table.add_row(name, str(seed), method, *figures, told, seconds)
    Console(width=110).print(table)


def make_brain(thick_mm: int, noise_hu: float, seed: int, slices: int) -> Brain:
    """Make a case: the middle slices of the half that the seed belongs to, cut to the brain."""
    volume = nibabel.as_closest_canonical(nibabel.load(HEAD)).get_fdata().astype(np.float32).transpose(2, 1, 0)[:, ::-1]
    volume = ndimage.gaussian_filter(volume / np.percentile(volume[volume > 0], 99.5), 0.5)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(volume > HEAD_FROM, iterations=3))
    hu = np.where(head, np.interp(volume, MR_SIGNAL, HU), AIR_HU).astype(np.float32)
    inside = ndimage.binary_erosion(head, iterations=12)
    depth = len(hu) // thick_mm * thick_mm
    thick = (-1, thick_mm, *hu.shape[1:])
    truth, inside = hu[:depth].reshape(thick).mean(axis=1), inside[:depth].reshape(thick).all(axis=1)
    halves = np.array_split(np.flatnonzero(inside.sum(axis=(1, 2)) > 1500), 2)
    half = halves[seed % 2]
    first = max(0, (len(half) - slices) // 2)
    kept = half[first : first + slices]
    box = ndimage.find_objects(inside[kept].any(axis=0).astype(int))[0]
    rows, columns = (slice(max(0, end.start - MARGIN_PX // ZOOM), end.stop + MARGIN_PX // ZOOM) for end in box)
    truth = ndimage.zoom(truth[kept][:, rows, columns], (1, ZOOM, ZOOM), order=1).astype(np.float32)
    inside = np.kron(inside[kept][:, rows, columns], np.ones((1, ZOOM, ZOOM), bool))
    return Brain(truth, truth + soft_kernel_noise(truth.shape, noise_hu, seed), inside)


def soft_kernel_noise(shape: tuple[int, ...], sd: float, seed: int) -> Volume:
    """Make noise of the sd given, independent from slice to slice, with the band of a soft kernel in the plane."""
    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    band = ndimage.gaussian_filter(white, (0, 1, 1)) - 0.7 * ndimage.gaussian_filter(white, (0, 3, 3))
    return np.asarray(band * (sd / band.std()), dtype=np.float32)


def denoised(method: str, noisy: Volume, thick_mm: int, seed: int) -> tuple[Volume, str]:
    """Denoise with a method of the benchmark, or with a Gaussian in the plane; also return what it tells of itself."""
    if method == "gaussian":
        return np.asarray(ndimage.gaussian_filter(noisy, (0, GAUSSIAN_PX, GAUSSIAN_PX))), ""
    facts: dict[str, Any] = {"spacing_mm": (float(thick_mm), 0.5, 0.5), "modality": "CT", "seed": seed}
    if method in PRESETS:
        result = nsn2n.denoise(noisy, preset=method, **facts)
        measured = result.measured
        lost = "-" if measured.detail_lost is None else f"{100 * measured.detail_lost:.1f}"
        left = (measured.noise_left or 0) * measured.noise_sd_median
        return result.volume, f"{lost}, {left:.2f}, {result.structure.verdict}"
    return METHODS[method]()(Job(noisy=noisy, sigma=estimate_sigma(noisy), steps=300, **facts)), ""


def scores(brain: Brain, result: Volume) -> tuple[float, float, float, float]:
    """Return rmse, detail lost, fine detail lost, noise left."""
    removed, error = ((other - result)[brain.inside].astype(np.float64) for other in (brain.noisy, brain.truth))

    def detail(scale_px: float) -> NDArray[np.float64]:
        return (brain.truth - ndimage.gaussian_filter(brain.truth, (0, scale_px, scale_px)))[brain.inside]

    def share(values: NDArray[np.float64], of: NDArray[np.float64]) -> float:
        return float(values @ of / (of @ of))

    coarse, fine = detail(DETAIL_PX), detail(FINE_PX)
    left = error - share(error, coarse) * coarse
    return float(np.sqrt(np.square(error).mean())), 100 * share(removed, coarse), 100 * share(removed, fine), left.std()


if __name__ == "__main__":
    main()
