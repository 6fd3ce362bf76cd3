# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fits of earlier parts of a volume, and the choice of one to reuse for a later part.

Time points, echoes and directions of diffusion show the same anatomy under the same noise. A fit to one is
valid for the others as long as their contrast-to-noise ratio is similar.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Array
from nsn2n.arrays.either import namespace, on_host
from nsn2n.stages import PipelineState

__all__ = ["EarlierFits", "levels_of"]

Levels = tuple[float, ...]

_LARGEST_RATIO = 1.1
"""Largest ratio of noise, and of contrast, between two parts that share a fit. The loss without a separate fit is
measured by ``benchmarks/many_volumes.py``."""

_CELL_PX = 4
"""Edge of the squares whose means are compared, two by two."""
_PERCENTILES = (50, 75, 90)
"""Percentiles of the places in the plane: half of them and more may be in air, and some at its border."""


@dataclass(frozen=True, slots=True)
class _Fit:
    """A fit, and the part to which it was fitted."""

    name: str
    levels: Levels
    matched_fraction: float
    again: Callable[[PipelineState], PipelineState]
    """Denoises another volume with its networks."""


class EarlierFits:
    """The fits so far of one volume in parts; all parts have one modality and one group of settings."""

    def __init__(self) -> None:
        self._fits: list[_Fit] = []

    def put_into(self, state: PipelineState) -> PipelineState | None:
        """Return the state of a part with the fit of the most similar part; None if none is similar.

        Parameters
        ----------
        state : PipelineState
            Before the first stage; its noise is above 0.
        """
        levels = levels_of(state)
        nearest = min(self._fits, key=lambda fit: _ratio(fit.levels, levels), default=None)
        if nearest is None or _ratio(nearest.levels, levels) > _LARGEST_RATIO:
            return None
        return replace(state, again=nearest.again).measuring(
            start=nearest.name, matched_fraction=nearest.matched_fraction
        )

    def add(self, name: str, state: PipelineState) -> None:
        """Keep the fit of a part, from the state after its last stage."""
        if state.again is not None:
            self._fits.append(_Fit(name, levels_of(state), state.measured.matched_fraction, state.again))


def levels_of(state: PipelineState) -> Levels:
    """Return the noise of a part, and the root of noise and contrast at some percentiles of its places; all above 0.

    The contrast is how much anatomy varies within some pixels: what local means of a slice, and those of the neighbor
    that it learns from, whose noise is another, have in common.
    """
    noise, contrast = state.noise.median, _contrast(state.filled, state.partner.distance)
    return (noise, *(math.sqrt(noise**2 + max(float(square), 0.0)) for square in contrast))


def _ratio(one: Levels, other: Levels) -> float:
    """The largest ratio, at least 1, of two levels."""
    return max(max(a / b, b / a) for a, b in zip(one, other, strict=True))


def _contrast(volume_dhw: Array, distance: int) -> NDArray[np.float64]:
    """Squared contrast at the percentiles, shape (3,); it may be below 0 where there is none."""
    depth, height, width = volume_dhw.shape
    rows, columns = height // (2 * _CELL_PX), width // (2 * _CELL_PX)
    if not rows or not columns:
        return np.zeros(len(_PERCENTILES))
    xp = namespace(volume_dhw)
    shared = xp.zeros_like(volume_dhw[0][:rows, :columns], dtype=xp.float64)
    before: deque[Array] = deque()
    for slice_hw in volume_dhw:
        cut = slice_hw[: 2 * _CELL_PX * rows, : 2 * _CELL_PX * columns]
        means = cut.reshape(rows, 2, _CELL_PX, columns, 2, _CELL_PX).mean((2, 5))
        means -= means.mean((1, 3), keepdims=True)
        if len(before) == distance:
            shared += (means * before.popleft()).mean((1, 3))
        before.append(means)
    return np.asarray(np.percentile(on_host(shared) / (depth - distance), _PERCENTILES))
