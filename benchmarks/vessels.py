# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A tree of vessels that bend, bifurcate and taper until they are thinner than a pixel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["draw_tree"]

Volume = NDArray[np.float32]
Vector = tuple[float, float, float]

OF_BRANCH = 2 ** (-1 / 3)
"""Radius of a branch relative to its trunk: the cubes of the two branches add up to the trunk's (Murray's law)."""
LENGTH, BEND, FORK = 7.0, 0.12, 0.55
"""Length of a segment, in radii of the tree's trunk; turn at each step; turn of a branch."""


def draw_tree(
    shape: tuple[int, int, int],
    start: Vector,
    toward: Vector,
    radius_px: float,
    random: np.random.Generator,
    least_px: float = 0.6,
) -> Volume:
    """Return the fraction of each voxel within the tree, shape (D, H, W), 0 to 1.

    Parameters
    ----------
    shape : tuple of 3 int
    start, toward : tuple of 3 floats
        Start (z, y, x) of the trunk, and its direction.
    radius_px : float
        Radius of the trunk.
    random : Generator
    least_px : float
        A branch ends where it would become thinner than this.
    """
    drawn = np.zeros(shape, np.float32)
    open_ends = [(np.array(start, float), np.array(toward, float), radius_px)]
    while open_ends:
        at, direction, radius = open_ends.pop()
        direction /= np.linalg.norm(direction)
        length = LENGTH * (radius_px * radius) ** 0.5 * random.uniform(0.7, 1.3)
        thinner = radius * OF_BRANCH
        steps = max(int(length / (0.5 * radius)), 2)
        for step in range(steps):
            direction += random.normal(0, BEND, 3) * (0.6, 1, 1)
            direction /= np.linalg.norm(direction)
            at = at + direction * (length / steps)
            _ball(drawn, at, radius + (thinner - radius) * step / steps)
        if thinner >= least_px and all(-20 < place < size + 20 for place, size in zip(at, shape, strict=True)):
            aside = np.cross(direction, random.normal(size=3))
            aside *= FORK / np.linalg.norm(aside)
            open_ends += [(at, direction + sign * aside, thinner) for sign in (1, -1)]
    return drawn


def _ball(drawn: Volume, at: NDArray[np.float64], radius: float) -> None:
    low = [max(int(place - radius - 1), 0) for place in at]
    high = [min(int(place + radius + 2), size) for place, size in zip(at, drawn.shape, strict=True)]
    if any(first >= end for first, end in zip(low, high, strict=True)):
        return
    part = drawn[tuple(slice(first, end) for first, end in zip(low, high, strict=True))]
    axes = np.ogrid[tuple(slice(first, end) for first, end in zip(low, high, strict=True))]
    distance = np.sqrt(sum(((axis - place) ** 2 for axis, place in zip(axes, at, strict=True)), np.zeros((1, 1, 1))))
    np.maximum(part, np.clip(radius + 0.5 - distance, 0, 1), out=part, casting="same_kind")
