# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Evenly spaced runs in a sorted stack of slices: where the step changes, one run ends and the next starts."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_RUNS", "PAIR_LIMIT", "is_even", "split_runs", "tolerance_mm"]

STEP_TOLERANCE_MM = 0.05
"""How far a slice-to-slice vector may be from the mean one: rounding of positions in headers is smaller, and
a twentieth of a millimeter is far below a pixel."""

STEP_TOLERANCE_FRACTION = 0.01
"""The same as a fraction of the slice distance; the larger of the two applies."""

STEP_TOLERANCE_LIMIT = 0.1
"""Upper bound of this fraction, so that very thin slices are not accepted at any distance."""

PAIR_LIMIT = 1.5
"""Two single slices are neighbors up to this many usual distances: one missing slice makes two."""

MOST_RUNS = 32
"""A stack of more runs has no meaningful spacing, and each run costs a fit."""


def tolerance_mm(distance_mm: float) -> float:
    """Return how far a step of this length may be from the mean one."""
    smallest = min(STEP_TOLERANCE_MM, STEP_TOLERANCE_LIMIT * distance_mm)
    return max(smallest, STEP_TOLERANCE_FRACTION * distance_mm)


def is_even(positions_mm: NDArray[np.float64]) -> bool:
    """Return whether sorted positions, shape (N, 3), have equal steps as vectors; one or two always do."""
    if len(positions_mm) <= 2:
        return True
    mean_step = (positions_mm[-1] - positions_mm[0]) / (len(positions_mm) - 1)
    distance = float(np.linalg.norm(mean_step))
    off_mean = np.linalg.norm(np.diff(positions_mm, axis=0) - mean_step, axis=1)
    drift = np.linalg.norm(positions_mm - positions_mm[0] - np.outer(np.arange(len(positions_mm)), mean_step), axis=1)
    return bool(off_mean.max() <= tolerance_mm(distance) and drift.max() <= distance / 2)


def split_runs(positions_mm: NDArray[np.float64], usual_mm: float) -> tuple[int, ...] | None:
    """Split a sorted stack into runs of equal steps.

    Parameters
    ----------
    positions_mm : ndarray, shape (N, 3)
        Sorted along the normal of the slices.
    usual_mm : float
        Usual distance of neighbors. Two slices that are much further apart do not form a run: there is a gap between
        them.

    Returns
    -------
    tuple of int, or None
        Slices of each run, which sum up to N; None if more than `MOST_RUNS` were needed.

    Notes
    -----
    As long as a section is uneven, it is cut at the step whose removal leaves both sides most even (smallest sum of
    squared deviations from the mean step of each side).
    """
    counts: list[int] = []
    pending = [(0, len(positions_mm))]
    while pending:
        if len(counts) + len(pending) > MOST_RUNS:
            return None
        first, end = pending.pop()
        if _is_run(positions_mm[first:end], usual_mm):
            counts.append(end - first)
        else:
            middle = first + 1 + _best_cut(np.diff(positions_mm[first:end], axis=0))
            pending += [(middle, end), (first, middle)]  # the left side comes next
    return tuple(counts)


def _is_run(positions_mm: NDArray[np.float64], usual_mm: float) -> bool:
    if len(positions_mm) == 2:
        return float(np.linalg.norm(positions_mm[1] - positions_mm[0])) <= PAIR_LIMIT * usual_mm
    return is_even(positions_mm)


def _best_cut(steps_mm: NDArray[np.float64]) -> int:
    """Return the step whose removal leaves the most even sides; among equally good ones the longest, the gap."""
    centered = steps_mm - np.median(steps_mm, axis=0)
    cost = _spread_before(centered) + _spread_before(centered[::-1])[::-1]
    length_mm = np.linalg.norm(steps_mm, axis=1)
    as_good = cost <= cost.min() + tolerance_mm(float(np.median(length_mm))) ** 2
    return int(np.argmax(np.where(as_good, length_mm, 0.0)))


def _spread_before(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum of squared deviations of the steps before each one from their mean."""
    counts = np.maximum(np.arange(len(steps)), 1)
    squares = np.concatenate([[0.0], np.cumsum(np.square(steps).sum(axis=1))[:-1]])
    sums = np.concatenate([np.zeros((1, steps.shape[1])), np.cumsum(steps, axis=0)[:-1]])
    return np.asarray(squares - np.square(sums).sum(axis=1) / counts)
