# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Detectability of faint discs and structures that a method creates: model observers and false structures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from cylinder import DIAMETERS, RADIUS, Site, from_center
from numpy.typing import NDArray
from scipy import ndimage, signal, special

__all__ = ["FalseStructures", "Seen", "area_under_curve", "cho_auc", "discs_auc", "false_structures", "found_by_search"]

Volume = NDArray[np.float32]
Double = NDArray[np.float64]

CHANNELS, HALF_PX, RIDGE, LEAST_SPREAD = 5, 12, 1e-6, 1e-9
ABOVE_SD, LEAST_PX, ENDS = 5.0, 15, 2
FLAT_WITHIN, SEARCHED_WITHIN = RADIUS - 14, RADIUS - 20
HIT_PX, APART_PX, PEAK_PX = 2.5, 4.0, 9


class Seen(NamedTuple):
    """Channel outputs at places in images."""

    values: Double
    """Shape (n, 5)."""
    group: NDArray[np.intp]
    """Shape (n,): group of images whose places are left out together."""


def seen(volumes: Sequence[tuple[int, NDArray[np.floating], Sequence[tuple[float, float]]]], diameter: float) -> Seen:
    """Return the channel outputs at places (row, column) in slices, from tuples (group, slice, places)."""
    weights = _channels(diameter)
    values = [(group, weights @ _cut(image, *place)) for group, image, places in volumes for place in places]
    return Seen(np.array([value for _, value in values]), np.array([group for group, _ in values], int))


def _channels(diameter: float) -> Double:
    """Return disc-wide Laguerre-Gauss channels, shape (5, 625): Gallas and Barrett, J Opt Soc Am A 20, 2003."""
    y, x = np.mgrid[-HALF_PX : HALF_PX + 1, -HALF_PX : HALF_PX + 1]
    radius = 2 * np.pi * (y * y + x * x).ravel() / diameter**2
    return np.stack([np.exp(-radius / 2) * special.eval_laguerre(order, radius) for order in range(CHANNELS)])


def _cut(image: NDArray[np.floating], row: float, column: float) -> Double:
    top, left = round(row) - HALF_PX, round(column) - HALF_PX
    part = image[top : top + 2 * HALF_PX + 1, left : left + 2 * HALF_PX + 1].astype(np.float64)
    return np.asarray((part - part.mean()).ravel())


def cho_auc(present: Seen, absent: Seen) -> float:
    """Return the area under the curve of a channelized Hotelling observer, tested on groups it was not trained on."""
    areas = []
    for group in np.unique(present.group):
        with_disc, without = (kind.values[kind.group != group] for kind in (present, absent))
        judged, beside = (kind.values[kind.group == group] for kind in (present, absent))
        if len(with_disc) <= CHANNELS or len(beside) == 0:
            continue
        spread = (np.cov(with_disc.T) + np.cov(without.T)) / 2
        spread += (RIDGE * np.trace(spread) + LEAST_SPREAD) * np.eye(CHANNELS)
        template = np.linalg.solve(spread, with_disc.mean(axis=0) - without.mean(axis=0))
        areas.append(area_under_curve(judged @ template, beside @ template))
    return float(np.mean(areas)) if areas else float("nan")


def area_under_curve(with_disc: Double, without: Double) -> float:
    """Return the probability that a score with a disc exceeds one without."""
    higher = with_disc[:, None] > without
    return float((higher + 0.5 * (with_disc[:, None] == without)).mean())


def discs_auc(volumes: Sequence[Volume], sites: Sequence[Sequence[Site]]) -> dict[tuple[int, float], float]:
    """Return `cho_auc` for each (diameter, HU), on single slices, with one group per volume."""
    cells: dict[tuple[int, float], float] = {}
    kinds = sorted({(site.diameter, site.hu) for of_volume in sites for site in of_volume if site.diameter})
    for diameter, hu in kinds:
        present, absent = (
            seen(
                [
                    (group, volume[z], [(site.row, site.column)])
                    for group, (volume, places) in enumerate(zip(volumes, sites, strict=True))
                    for site in places
                    if (site.diameter, site.hu) == kind
                    for z in range(site.first + 1, site.end - 1)
                ],
                diameter,
            )
            for kind in ((diameter, hu), (0, 0.0))
        )
        cells[diameter, hu] = cho_auc(present, absent)
    return cells


def found_by_search(volumes: Sequence[Volume], sites: Sequence[Sequence[Site]]) -> float:
    """Return the percentage of discs, slice by slice, found by a search that allows one false alarm per slice.

    The search looks for places where the mean over a disc stands out from that of the surrounding ring, for all
    diameters, in units of the variation of this difference over the cylinder.
    """
    hits, alarms, slices = [], [], 0
    for volume, places in zip(volumes, sites, strict=True):
        present = [site for site in places if site.diameter]
        for z in sorted({z for site in present for z in range(site.first + 1, site.end - 1)}):
            score = _disc_score(volume[z])
            peaks = (score == ndimage.maximum_filter(score, PEAK_PX)) & (from_center() < SEARCHED_WITHIN + 10)
            rows, columns = np.nonzero(peaks)
            free = np.ones(len(rows), bool)
            for site in (site for site in present if site.first <= z < site.end):
                away = np.hypot(rows - site.row, columns - site.column)
                near = score[rows, columns][away <= max(site.diameter / 2, HIT_PX)]
                hits.append(float(near.max()) if near.size else -np.inf)
                free &= away > site.diameter / 2 + APART_PX
            alarms += list(score[rows, columns][free])
            slices += 1
    limit = sorted(alarms)[-slices] if 0 < slices <= len(alarms) else -np.inf
    return 100 * float(np.mean(np.array(hits) > limit))


def _disc_score(image: NDArray[np.floating]) -> Double:
    y, x = np.mgrid[-HALF_PX : HALF_PX + 1, -HALF_PX : HALF_PX + 1]
    radius, within = np.hypot(y, x), from_center() < SEARCHED_WITHIN + 10
    scores = []
    for diameter in DIAMETERS:
        disc, ring = radius <= diameter / 2, (radius > diameter / 2 + 1) & (radius <= diameter / 2 + 4)
        template = disc / disc.sum() - ring / ring.sum()
        response = signal.fftconvolve(image, template[::-1, ::-1], mode="same")
        scores.append(response / max(1.4826 * np.median(np.abs(response[within])), 1e-9))
    return np.asarray(np.max(scores, axis=0))


class FalseStructures(NamedTuple):
    """False structures per slice: places that stand out from the residual noise where there is nothing."""

    ends: float
    """Of 15 pixels and more, in the first two and the last two slices."""
    others: float
    """Of 15 pixels and more, in all other slices."""
    specks: float
    """Smaller ones, in all slices."""


def false_structures(result: Volume, truth: Volume) -> FalseStructures:
    """Count connected regions that differ from the truth by more than 5 robust background sd, in a flat cylinder."""
    within = from_center() < FLAT_WITHIN
    off = (result - truth) * within
    background = off[:, within]
    limit = ABOVE_SD * 1.4826 * float(np.median(np.abs(background - np.median(background))))
    large, small = [], []
    for plane in off:
        areas = np.concatenate([np.bincount(ndimage.label(sign * plane > limit)[0].ravel())[1:] for sign in (1, -1)])
        large.append(int((areas >= LEAST_PX).sum()))
        small.append(int((areas < LEAST_PX).sum()))
    return FalseStructures(
        float(np.mean(large[:ENDS] + large[-ENDS:])),
        float(np.mean(large[ENDS:-ENDS])) if len(large) > 2 * ENDS else 0.0,
        float(np.mean(small)),
    )
