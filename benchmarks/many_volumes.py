# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Loss or gain in quality when the volumes of one series share fits, and the time that many volumes take.

    python benchmarks/many_volumes.py [--modalities MR PT CT] [--seed 1] [--volumes 0] [--preset default]

A head of random tissue, 30 x 64 x 64, and the same head in other states: with activation, moved, with contrast agent,
with more and with less contrast, with more noise, and another head. Prints the PSNR in tissue with a separate fit for
each volume and as `nsn2n.denoise` handles them as parts of one series, and which fit that used. With --volumes,
also prints the seconds of one volume and of that many similar ones.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from anatomy import threads
from measures import psnr
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from run import machine
from scipy import ndimage

import nsn2n

Volume = NDArray[np.float32]

SHAPE, SPACING_MM, SD = (30, 64, 64), (3.0, 3.0, 3.0), 8.0
MEAN = 100.0
"""Signal of tissue; its texture has a standard deviation of 20 at a scale of about 2 pixels, and of 8 at 1 pixel."""
GRAIN_PX = 0.6
"""Grain size of the noise of CT and PET."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modalities", nargs="+", choices=["MR", "PT", "CT"], default=["MR", "PT", "CT"])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--volumes", type=int, default=0)
    parser.add_argument("--preset", default="default")
    parser.add_argument("--states", type=int, help="so many of the states; all by default")
    parser.add_argument("--budget", type=float, help="seconds for each fit")
    options = parser.parse_args()
    print(machine(threads()), flush=True)
    for modality in options.modalities:
        random = np.random.default_rng(800 + options.seed)
        inside, states = head_states(random)
        states = states[: options.states]
        middle = ndimage.binary_erosion(inside, iterations=2)
        noisy = [noised(truth, sd, modality, random) for _, truth, sd in states]
        known = {"modality": modality, "preset": options.preset}
        joint = denoised(noisy, known, options.budget)
        table = Table("volume", "noisy", "own fit", "as a part", "difference", "fit of", "s own", "s", title=modality)
        for index, (name, truth, _) in enumerate(states):
            own = denoised([noisy[index]], known, options.budget)
            part = joint.volume[index * SHAPE[0] : (index + 1) * SHAPE[0]]
            of_part = joint.parts[index][1]
            levels = [
                psnr(values[:, middle], truth[:, middle], data_range=MEAN)
                for values in (noisy[index], own.volume, part)
            ]
            start = of_part.start if of_part.start.startswith("part") else "its own"
            table.add_row(
                name, *(f"{level:.2f}" for level in levels), f"{levels[2] - levels[1]:+.2f}", start,
                f"{own.measured.seconds:.1f}", f"{of_part.seconds:.1f}",
            )  # fmt: skip
        Console(width=100).print(table)
        if options.volumes:
            series = [noised(states[0][1], SD, modality, random) for _ in range(options.volumes)]
            one, many = (timed(series[:count], known) for count in (1, options.volumes))
            print(f"1 volume {one:.1f} s, {options.volumes} volumes {many:.1f} s: {many / one:.1f} times", flush=True)


def head_states(random: np.random.Generator) -> tuple[NDArray[np.bool_], list[tuple[str, Volume, float]]]:
    """Return the mask of the head, shape (H, W), and its states: name, truth, noise sd."""
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    inside = ((rows - 32) / 26) ** 2 + ((columns - 32) / 22) ** 2 < 1
    base, other = (tissue(random, inside) for _ in range(2))
    lesion = np.zeros(SHAPE)
    lesion[12:18, 28:36, 24:34] = 1
    lesion = ndimage.gaussian_filter(lesion, 1) * inside

    def contrast(factor: float, mean: float = MEAN) -> Volume:
        return np.where(inside, mean + factor * (base - MEAN), 0)

    return inside, [
        ("first", base, SD),
        ("the same", base, SD),
        ("active", base * (1 + 0.05 * lesion), SD),
        ("moved by a pixel", np.roll(base, 1, axis=2), SD),
        ("agent taken up", base * (1 + 0.6 * lesion), SD),
        ("contrast x 1.2", contrast(1.2), SD),
        ("contrast x 1.1", contrast(1.1), SD),
        ("contrast x 0.9", contrast(0.9), SD),
        ("contrast x 0.8", contrast(0.8), SD),
        ("contrast x 0.4", contrast(0.4), SD),
        ("diffusion", contrast(0.5, 40.0), SD),
        ("noise x 1.1", base, 1.1 * SD),
        ("noise x 1.25", base, 1.25 * SD),
        ("another head", other, SD),
    ]


def tissue(random: np.random.Generator, inside: NDArray[np.bool_]) -> Volume:
    values = np.full(SHAPE, MEAN)
    for sd, sizes_px in ((20.0, (1.5, 2, 2)), (8.0, (0.8, 1, 1))):
        texture = ndimage.gaussian_filter(random.standard_normal(SHAPE), sizes_px)
        values += sd * texture / texture.std()
    return np.where(inside, values, 0)


def noised(truth: Volume, sd: float, modality: str, random: np.random.Generator) -> Volume:
    """Return the truth with white Rician noise for MR, or correlated noise for the other modalities."""
    if modality == "MR":
        return np.hypot(truth + sd * random.standard_normal(SHAPE), sd * random.standard_normal(SHAPE)).astype("f4")
    grain = ndimage.gaussian_filter(random.standard_normal(SHAPE), (0, GRAIN_PX, GRAIN_PX))
    return (truth + sd * grain / grain.std()).astype(np.float32)


def denoised(volumes: list[Volume], known: dict[str, str], budget_s: float | None = None) -> nsn2n.DenoiseResult:
    """Return the volumes denoised as parts of one series, with `budget_s` seconds for each."""
    config = {} if budget_s is None else {"budget_s": budget_s * len(volumes)}
    parts = [SHAPE[0]] * len(volumes)
    return nsn2n.denoise(np.concatenate(volumes), parts=parts, spacing_mm=SPACING_MM, config=config, **known)


def timed(volumes: list[Volume], known: dict[str, str]) -> float:
    started = time.perf_counter()
    denoised(volumes, known)
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
