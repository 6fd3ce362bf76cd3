# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Trials of anatomy.py on a uniform background: faint discs, false structures, FDA images, sharpness by contrast."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cylinder
import numpy as np
from cases import DATA, MissingData
from numpy.typing import NDArray
from observers import cho_auc, discs_auc, false_structures, found_by_search, seen
from textured_noise import texture
from trial import Trial, View, share

__all__ = ["FAINT", "half_value_frequency"]

Volume = NDArray[np.float32]

SPACING_MM = (3.0, 0.7, 0.7)
SOFT_WINDOW, MIDDLE = (-10.0, 90.0), slice(32, 224)
TUNED_AS = "ct-faint-20"
"""In units of the noise, the discs of the other cases are similar."""
HARD_FOR_NOISY = 0.97
"""The AUC is averaged over discs for which that of the noisy images is below this value."""
PATCH_PX = 12
WATER = cylinder.from_center() < cylinder.RADIUS - 14

LCD_PLACES = {(160.4, 160.4): (14, 3), (160.4, 94.6): (10, 5), (94.7, 94.7): (7, 7), (94.6, 160.4): (4, 14)}
"""Maps row and column of each insert to its diameter in pixels and contrast in HU."""
LCD_ZERO_HU = 1000
ROD_EDGE_PX, BIN_PX, ROD_NOISE_HU = 9.0, 0.25, 20.0


def faint(noise_hu: int, seed: int, slices: int) -> Trial:
    """Make a trial of two volumes with discs, and of one without discs that has the same noise as the first."""
    seeds = (seed, seed + 2)
    made = [cylinder.discs(slices, noise_hu, each) for each in seeds]
    sites = [places for _, places in made]
    flat = cylinder.flat(slices)
    noises = [cylinder.noise(slices, noise_hu, 100 * noise_hu + each) for each in seeds]
    truth = (made[0][0], made[1][0], flat)
    noisy = tuple(map(cylinder.stored, (truth[0] + noises[0], truth[1] + noises[1], flat + noises[0])))
    hard = [kind for kind, area in discs_auc(noisy[:2], sites).items() if area < HARD_FOR_NOISY]

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        areas = discs_auc(results[:2], sites)
        kept, shape = _discs_left(results[0] - results[2], truth[0] - flat, sites[0])
        false, left = false_structures(results[2], flat), results[2] - flat
        peak, mean = texture(left, np.broadcast_to(WATER, flat.shape))
        return {
            "rmse": _rmse(results[0] - truth[0]),
            "AUC": float(np.mean([areas[kind] for kind in hard])) if hard else float("nan"),
            "found %": found_by_search(results[:2], sites),
            "contrast %": kept, "shape": shape, "false, ends": false.ends, "others": false.others,
            "specks": false.specks, "left": float(left[:, WATER].std(dtype=np.float64)), "NPS peak": peak, "mean": mean,
        }  # fmt: skip

    view = View(SOFT_WINDOW, sites[0][0].first + 3, MIDDLE, MIDDLE)
    name = f"ct-faint-{noise_hu}"
    return Trial(
        name=name, noisy=noisy, truth=truth, measure=measure, view=view, spacing_mm=SPACING_MM,
        rank="AUC", highest=True, tuned_as="" if name == TUNED_AS else TUNED_AS,
    )  # fmt: skip


def _rmse(error: Volume) -> float:
    return float(np.sqrt(np.square(error[:, WATER], dtype=np.float64).mean()))


def _discs_left(difference: Volume, added: Volume, sites: Sequence[cylinder.Site]) -> tuple[float, float]:
    """Return the percentage of contrast kept and the correlation with the disc's shape, both as means over discs."""
    kept, similarity = [], []
    for site in (site for site in sites if site.diameter):
        top, left = round(site.row) - PATCH_PX, round(site.column) - PATCH_PX
        slices = slice(site.first + 1, site.end - 1)
        place = (slices, slice(top, top + 2 * PATCH_PX + 1), slice(left, left + 2 * PATCH_PX + 1))
        found, disc = difference[place].mean(axis=0), added[place].mean(axis=0)
        kept.append(share(found, disc))
        varies = float(found.std()) > 0
        similarity.append(float(np.corrcoef(found.ravel(), disc.ravel())[0, 1]) if varies else 0.0)
    return 100 * float(np.mean(kept)), float(np.mean(similarity))


def lcd(dose: int, seed: int, slices: int) -> Trial:
    """Make a trial of the FDA's phantom images with and without discs, each ten stacked as slices of a volume."""
    folder = DATA / "lcd-ct"
    if not folder.is_dir():
        raise MissingData(f"the cases ct-lcd need {folder}")
    present, absent = (
        _lcd_images(folder / f"dose_{dose:03d}" / kind, kind) for kind in ("signal_present", "signal_absent")
    )
    marks = np.fromfile(folder / "ground_truth.raw", np.uint16).reshape(present.shape[1:]).astype(np.float32)
    truth = np.repeat(marks[None] - LCD_ZERO_HU, len(present), axis=0)
    flat = np.where(truth > 0, 0, truth).astype(np.float32)

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        areas = {}
        for place, (diameter, hu) in LCD_PLACES.items():
            with_disc = [(index, image, [place]) for index, image in enumerate(results[0])]
            without = [(index, image, list(LCD_PLACES)) for index, image in enumerate(results[1])]
            areas[f"{hu} HU, {diameter} px"] = cho_auc(seen(with_disc, diameter), seen(without, diameter))
        rows, columns = np.ogrid[: marks.shape[0], : marks.shape[1]]
        even = np.broadcast_to(np.hypot(rows - 127.5, columns - 127.5) < 90, absent.shape)
        left = results[1] - flat
        peak, mean = texture(left, even)
        return {
            "AUC": float(np.mean(list(areas.values()))), **areas,
            "left": float(left[even].std(dtype=np.float64)), "NPS peak": peak, "mean": mean,
        }  # fmt: skip

    view = View((-40.0, 60.0), len(present) // 2, MIDDLE, MIDDLE)
    return Trial(
        name=f"ct-lcd-{dose}", noisy=(present, absent), truth=(truth, flat), measure=measure, view=view,
        spacing_mm=SPACING_MM, rank="AUC", highest=True, tuned_as=TUNED_AS,
    )  # fmt: skip


def _lcd_images(folder: object, kind: str) -> Volume:
    images = [np.fromfile(f"{folder}/{kind}_{number:03d}.raw", np.int16).reshape(256, 256) for number in range(1, 11)]
    return (np.stack(images) - LCD_ZERO_HU).astype(np.float32)


def sharpness(seed: int, slices: int) -> Trial:
    """Make a trial of rods of three contrasts: frequency where half the contrast is kept (task transfer function)."""
    truth, centers = cylinder.rods(slices)
    flat = cylinder.flat(slices)
    noise = cylinder.noise(slices, ROD_NOISE_HU, 4000 + seed)
    noisy = (cylinder.stored(truth + noise), cylinder.stored(flat + noise))

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        difference = (results[0] - results[1]).mean(axis=0)
        figures = {f"{hu:.0f} HU": half_value_frequency(difference, *centers[hu]) for hu in cylinder.ROD_HU}
        left = results[1] - flat
        peak, mean = texture(left, np.broadcast_to(WATER, flat.shape))
        return {**figures, "left": float(left[:, WATER].std(dtype=np.float64)), "NPS peak": peak, "mean": mean}

    view = View(SOFT_WINDOW, slices // 2, MIDDLE, MIDDLE)
    return Trial(
        name="ct-ttf", noisy=noisy, truth=(truth, flat), measure=measure, view=view, spacing_mm=SPACING_MM,
        rank="30 HU", highest=True, tuned_as=TUNED_AS,
    )  # fmt: skip


def half_value_frequency(image: NDArray[np.floating], row: float, column: float) -> float:
    """Return the frequency, in cycles per pixel, at which the transfer function of a round rod's edge falls to half.

    The edge profile is the mean of all pixels by distance from the edge; its derivative is the line spread function:
    Richard et al., "Towards task-based assessment of CT performance", Med. Phys. 39, 2012.
    """
    rows, columns = np.ogrid[: image.shape[0], : image.shape[1]]
    away = np.hypot(rows - row, columns - column) - cylinder.ROD_RADIUS
    near = np.abs(away) < ROD_EDGE_PX
    number = np.floor((away[near] + ROD_EDGE_PX) / BIN_PX).astype(int)
    count = np.bincount(number)
    sums = np.bincount(number, image[near])
    filled = np.flatnonzero(count)
    edge = np.interp(np.arange(len(count)), filled, sums[filled] / count[filled])
    spread = -np.diff(edge)
    spread *= np.hanning(len(spread))
    transfer = np.abs(np.fft.rfft(spread, 4096))
    frequency = np.fft.rfftfreq(4096, BIN_PX)
    below = np.flatnonzero(transfer < 0.5 * transfer[0])
    return float(frequency[below[0]]) if below.size and transfer[0] > 0 else float("nan")


FAINT: dict[str, Callable[[int, int], Trial]] = {
    **{f"ct-faint-{hu}": lambda seed, slices, hu=hu: faint(hu, seed, 2 * slices) for hu in cylinder.CONTRASTS},
    **{f"ct-lcd-{dose}": lambda seed, slices, dose=dose: lcd(dose, seed, slices) for dose in (10, 55, 100)},
    "ct-ttf": sharpness,
}
"""Functions that make each trial from a seed and a number of slices."""
