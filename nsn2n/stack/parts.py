# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume of several parts that are no neighbors of each other: each is denoised apart, and the results are joined.

Parts are what lies between gaps, runs of another slice spacing, or the time points of a series. Nothing of one part
teaches another: the last slice of one and the first of the next are no pair.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nsn2n.errors import VolumeError
from nsn2n.structure_check import StructureCheck, joined_structure

if TYPE_CHECKING:
    from nsn2n.denoising import DenoiseResult

__all__ = ["checked_parts", "denoise_parts", "for_each_part", "places_of"]

logger = logging.getLogger(__name__)

Progress = Callable[[float, float], None]

_SLICES_PER_FIT = 20.0
"""A fit takes about as long as to apply it to so many slices; for the progress bar."""


def checked_parts(parts: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """Return the slices of each part of a volume; without any there is one part.

    Raises
    ------
    VolumeError
        If they are not whole numbers of 1 or more that sum up to the depth, or no part has two slices.
    """
    if parts is None:
        return (depth,)
    counts = tuple(parts)
    whole = all(hasattr(count, "__index__") and int(count) >= 1 for count in counts)
    if not whole or sum(counts) != depth:
        raise VolumeError(
            f"parts must be the slices of each part, whole numbers of 1 or more that sum up to the {depth} slices of "
            f"the volume; got {counts[:8]!r}{' ...' if len(counts) > 8 else ''}."
        )
    if len(counts) > 1 and max(counts) < 2:
        raise VolumeError(
            f"at least one part must have 2 slices, since neighbors teach each other; got {len(counts)} parts of one."
        )
    return tuple(int(count) for count in counts)


def for_each_part(name: str, value: Sequence[Any] | None, length: int, count: int) -> tuple[Any, ...]:
    """Return an argument for each part: those given, or the given one for all.

    Parameters
    ----------
    name : str
        Of the argument, for messages.
    value : sequence of ``length`` numbers, or a sequence of those, or None
    length : int
    count : int
        Of the parts.

    Raises
    ------
    VolumeError
        If there are several, but not one for each part.
    """
    if value is None or not any(isinstance(entry, (tuple, list)) for entry in value):
        return (value,) * count
    if len(value) != count:
        raise VolumeError(
            f"{name} must be {length} numbers, or such for each of {count} parts; got {len(value)} of them."
        )
    return tuple(value)


def denoise_parts(
    denoise: Callable[..., DenoiseResult],
    volume: NDArray[Any],
    parts: Sequence[int],
    *,
    hints: Sequence[Mapping[str, Any]],
    exclude: ArrayLike | None = None,
    progress: Progress | None = None,
) -> DenoiseResult:
    """Denoise each part of a volume apart.

    Parameters
    ----------
    denoise : callable
        Denoises one part; takes it, and the keywords ``exclude``, ``progress`` and those of its hints.
    volume : ndarray, shape (D, H, W)
    parts : sequence of int
        Slices of each part, as :func:`checked_parts` returns them; several. A part of one slice stays as it is.
    hints : sequence of mapping
        Further keywords for each part.
    exclude : array_like, shape (D, H, W), bool, optional
    progress : callable, optional
        Called with (fraction done, seconds left).

    Returns
    -------
    DenoiseResult
        Of the whole volume; ``parts`` holds what was measured on each part.
    """
    mask = None if exclude is None else np.asarray(exclude, dtype=bool)
    if mask is not None and mask.shape != volume.shape:
        raise VolumeError(f"exclude must have the volume's shape {volume.shape}; got {mask.shape}.")
    denoised = np.empty(volume.shape, np.float32)
    noise_sd = np.zeros(volume.shape, np.float32)
    valid = np.ones(volume.shape, bool)
    shears_px: list[tuple[float, float]] = []
    results: list[tuple[int, DenoiseResult]] = []
    structures: list[tuple[int, StructureCheck]] = []
    clock = _Clock(progress, parts)
    for number, (place, hint) in enumerate(zip(places_of(parts), hints, strict=True), start=1):
        slices = place.stop - place.start
        if slices == 1:
            denoised[place] = volume[place]
            valid[place] = np.isfinite(volume[place])
            if mask is not None:
                valid[place] &= ~mask[place]
            shears_px.append((0.0, 0.0))
            continue
        logger.info("part %d of %d: %d slices", number, len(parts), slices)
        result = denoise(
            volume[place],
            **hint,
            exclude=None if mask is None else mask[place],
            progress=clock.part(number - 1),
        )
        denoised[place], noise_sd[place] = result.volume, result.noise_sd
        if result.valid is not None:
            valid[place] = result.valid
        shears_px += result.shears_px
        # Only numbers are kept of each result: their arrays would double the memory.
        results.append((slices, replace(result, volume=denoised[place], noise_sd=noise_sd[place], valid=None)))
        structures.append((place.start, result.structure))
    alone = sum(count == 1 for count in parts)
    if alone:
        logger.warning("%d of %d slices have no neighbor to learn from: they stay as they are", alone, len(volume))
    if progress is not None:
        progress(1.0, 0.0)
    return replace(
        results[0][1],
        volume=denoised,
        noise_sd=noise_sd,
        loss=np.concatenate([result.loss for _, result in results]),
        structure=joined_structure(structures),
        measured={**_joined(results), "parts": len(parts), "slices_alone": alone},
        parts=tuple({"slices": slices, **result.measured} for slices, result in results),
        part_slices=tuple(parts),
        valid=None if valid.all() else valid,
        shears_px=tuple(shears_px),
    )


def places_of(parts: Sequence[int]) -> Iterator[slice]:
    """Return the slices of the volume that each part takes, in order."""
    start = 0
    for count in parts:
        yield slice(start, start + count)
        start += count


def _joined(results: Sequence[tuple[int, DenoiseResult]]) -> dict[str, Any]:
    """What was measured, over all parts; weights are slices."""
    slices = [count for count, _ in results]
    columns = {name: [result.measured[name] for _, result in results] for name in results[0][1].measured}
    return {name: _JOINED_BY[name](values, slices) for name, values in columns.items()}


def _mean(values: Sequence[float], slices: Sequence[int]) -> float:
    return float(np.average(values, weights=slices))


def _mean_square(values: Sequence[float], slices: Sequence[int]) -> float:
    return math.sqrt(float(np.average(np.square(values), weights=slices)))


def _median(values: Sequence[float], slices: Sequence[int]) -> float:
    return float(np.median(np.repeat(values, slices)))


_JOINED_BY: Mapping[str, Callable[[Any, Sequence[int]], Any]] = {
    "modality": lambda values, _: values[0],
    "noise_sd_median": _median,
    "slice_correlation": _mean,
    "partner_distance": lambda values, _: max(values),
    "matched_fraction": _mean,
    "rician_bias_taken": lambda values, _: any(values),
    "rms_change": _mean_square,
    "start": lambda values, _: values[0],
    "steps": lambda values, _: max(values),
    "refit_steps": lambda values, _: max(values),
    "final_loss": _mean,
    "compute": lambda values, _: values[0],
    "seconds": lambda values, _: round(sum(values), 2),
}
"""How what was measured on the parts becomes one value; steps are those of a fit, of which each part has its own."""


class _Clock:
    """Turns the fraction done of a part into that of the whole, and the seconds left."""

    def __init__(self, progress: Progress | None, parts: Sequence[int]) -> None:
        self._progress = progress
        self._started = time.perf_counter()
        costs = np.array([0.0 if count == 1 else _SLICES_PER_FIT + count for count in parts])
        self._shares = costs / costs.sum()
        self._ends = np.cumsum(self._shares)

    def part(self, index: int) -> Progress | None:
        """Return what takes the progress of that part."""
        if self._progress is None:
            return None
        tell, share, end = self._progress, float(self._shares[index]), float(self._ends[index])

        def of_whole(fraction: float, _seconds_left: float) -> None:
            done = min(end - share * (1.0 - fraction), 1.0)
            elapsed = time.perf_counter() - self._started
            tell(done, elapsed * (1.0 - done) / max(done, 1e-6))

        return of_whole
