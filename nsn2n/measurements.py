# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured while a volume is denoised, and how the figures of several parts become one.

A new measurement is one field here: its type, its default, and how it is merged over the parts of a volume.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

__all__ = ["Measurements", "merged"]

Merge = Callable[[Sequence[Any], Sequence[int]], Any]
"""Takes the values of the parts and the slices of each."""


def _first(values: Sequence[Any], slices: Sequence[int]) -> Any:
    return values[0]


def _all(values: Sequence[Any], slices: Sequence[int]) -> bool:
    return all(values)


def _largest(values: Sequence[Any], slices: Sequence[int]) -> Any:
    return max(values)


def _total(values: Sequence[float], slices: Sequence[int]) -> float:
    return round(sum(values), 2)


def _mean(values: Sequence[float], slices: Sequence[int]) -> float:
    return float(np.average(values, weights=slices))


def _root_mean_square(values: Sequence[float], slices: Sequence[int]) -> float:
    return math.sqrt(float(np.average(np.square(values), weights=slices)))


def _median(values: Sequence[float], slices: Sequence[int]) -> float:
    return float(np.median(np.repeat(values, slices)))


def _largest_known(values: Sequence[Any], slices: Sequence[int]) -> Any:
    return max((value for value in values if value is not None), default=None)


def _mean_of_known(values: Sequence[Any], slices: Sequence[int]) -> float | None:
    known = [(value, count) for value, count in zip(values, slices, strict=True) if value is not None]
    return _mean(*zip(*known, strict=True)) if known else None


def _measured(default: Any, merge: Merge) -> Any:
    return field(default=default, metadata={"merge": merge})


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurements:
    """Figures of one volume, or of one part of it."""

    modality: str = _measured("", _first)
    """Empty where it is not known."""
    noise_sd_median: float = _measured(0.0, _median)
    """Median over the blocks of the noise sd, in the unit of the volume."""
    acquired_rows: int | None = _measured(None, _largest_known)
    """Rows of the acquired grid, if slices that were interpolated by zero filling were denoised on it."""
    acquired_columns: int | None = _measured(None, _largest_known)
    """Columns of that grid."""
    slice_correlation: float = _measured(0.0, _mean)
    """Of the noise of neighboring slices, 0 to 0.9."""
    partner_distance: int = _measured(1, _largest)
    """Slices from a slice to its training target."""
    matched_fraction: float = _measured(0.0, _mean)
    """Fraction of the voxels used for training."""
    rician_bias_taken: bool = _measured(False, _all)
    """Whether the mean of Rician noise was subtracted, in every part that was denoised."""
    rms_change: float = _measured(0.0, _root_mean_square)
    """Root mean square of the change, in the unit of the volume."""
    noise_factor: float | None = _measured(None, _mean_of_known)
    """Noise factor of the group filter, as determined; None if it was not."""
    detail_lost: float | None = _measured(None, _largest_known)
    """Fraction of faint detail lost on a simulated copy of a part of the volume; None if it has none that is clearly
    distinguishable from noise."""
    noise_left: float | None = _measured(None, _mean_of_known)
    """Residual noise as a ratio of standard deviations: that of the copy; in CT halfway between that and what
    is left where there is no detail."""
    start: str = _measured("none", _first)
    """``bundle`` if the fit starts from the weights of the model bundle; ``part 1`` if the fit of the first part of
    the volume is reused."""
    steps: int = _measured(0, _largest)
    """Optimizer steps of the first fit."""
    refit_steps: int = _measured(0, _largest)
    """Optimizer steps of the second fit."""
    final_loss: float = _measured(0.0, _mean)
    """Mean over the last 50 steps."""
    compute: str = _measured("", _first)
    """Device and precision."""
    threads: int = _measured(0, _first)
    """Threads that shared slices, and the crops of a step, on the CPU; the values are the same with any number."""
    volumes_in_files: bool = _measured(False, _largest)
    """Whether arrays of the size of the volume were kept in temporary files, to stay within a memory limit; the values
    are the same in memory."""
    seconds: float = _measured(0.0, _total)
    parts: int | None = _measured(None, _first)
    """Number of parts of a volume in parts."""
    slices_alone: int | None = _measured(None, _first)
    """Number of parts that are a single slice, which has no neighbor to train on."""

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values that JSON can hold, without those that do not apply."""
        named = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {name: value for name, value in named.items() if value is not None}


def merged(of_parts: Sequence[tuple[int, Measurements]], **of_all: Any) -> Measurements:
    """Return the measurements of a volume from those of its parts.

    Parameters
    ----------
    of_parts : sequence of (int, Measurements)
        Slices of each part, and what was measured on it.
    **of_all
        Fields that are known for the whole volume.
    """
    slices = [count for count, _ in of_parts]
    joined = {
        entry.name: entry.metadata["merge"]([getattr(one, entry.name) for _, one in of_parts], slices)
        for entry in fields(Measurements)
        if entry.name not in of_all
    }
    return Measurements(**joined, **of_all)
