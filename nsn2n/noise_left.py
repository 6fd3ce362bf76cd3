# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Residual noise of a volume, from that of a simulated copy of a part of it, for which the truth is known.

The copy is taken where most detail is, and there a filter leaves more of the noise than elsewhere. What it removes is
known everywhere.
"""

from __future__ import annotations

import math

from scipy import optimize

from nsn2n._aliases import Array
from nsn2n.arrays.either import double, total
from nsn2n.noise.level import NoiseMap
from nsn2n.probes import tissue_without_edges
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stack.sampling import evenly_spread

__all__ = ["carried_over", "removed_noise"]

_SAMPLE_SLICES = 16
_AWAY_PX = 6
"""Distance from strong edges, as for the residual noise of the copy."""
_SAME, _WHOLE = 1.0, 2.0
"""Exponent in left**p + removed**p = 1: of a filter that takes the same part of all frequencies, so that what is left
and what is removed have one form, and of one that takes some frequencies whole, so that their powers add up."""
_BY_CHANCE = 0.05
"""That sum may be too low for the first, or too high for the second, by this much."""

_MOST_SENSITIVE = 2.0
"""An error of the noise sd, and so of what was removed, may make an error so many times as large of what is left: where
nearly all was removed it would be more."""


def removed_noise(
    noisy: Array, denoised: Array, noise: NoiseMap, valid: Array | None, air: float | None
) -> float | None:
    """Return the root mean square of what was removed from tissue, away from strong edges, in noise sd.

    Parameters
    ----------
    noisy, denoised : array, shape (D, H, W), float32, finite
    noise : NoiseMap
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    air : float, optional
        The value of air, whose noise may differ.

    Returns
    -------
    float or None
        None if there is no such tissue.
    """

    def of_slice(index: int) -> tuple[float, int]:
        where = tissue_without_edges(denoised, noise, slice(index, index + 1), valid, air, _AWAY_PX)
        removed = (noisy[index][where] - denoised[index][where]) / noise.floored(index)[where]
        return total(double(removed) ** 2), len(removed)

    squares, counts = zip(*for_each_slice(of_slice, evenly_spread(len(noisy), _SAMPLE_SLICES)), strict=True)
    return math.sqrt(sum(squares) / sum(counts)) if sum(counts) else None


def carried_over(left: float, removed: float | None, removed_there: float | None) -> float:
    """Return the fraction of the noise left at one place, from that left at another.

    Parameters
    ----------
    left : float
        Part of the noise that is left where that is known, as the ratio of standard deviations.
    removed, removed_there : float or None
        What was removed there and at the place asked for, in noise sd.

    Returns
    -------
    float
        ``left`` itself where no filter explains that so much was removed and so much is left, or where it cannot be
        derived from what was removed.
    """
    if removed is None or removed_there is None or not (0 < left < 1 and 0 < removed < 1 and removed_there < 1):
        return left

    def excess(power: float) -> float:
        return float(left**power + removed**power - 1)

    if excess(_SAME) < -_BY_CHANCE or excess(_WHOLE) > _BY_CHANCE:
        return left
    power = _SAME if excess(_SAME) <= 0 else _WHOLE if excess(_WHOLE) >= 0 else optimize.brentq(excess, _SAME, _WHOLE)
    power = float(power)
    there = float((1 - removed_there**power) ** (1 / power))
    return there if (removed_there / there) ** (power - 1) <= _MOST_SENSITIVE else left
