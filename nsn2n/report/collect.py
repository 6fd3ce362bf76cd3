# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reduces a volume and its result to the pictures and curves of a report, slice by slice."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n._aliases import Float32Array, Spacing
from nsn2n._version import __version__
from nsn2n.modality import Modality, policy_of
from nsn2n.report.neighbors import Neighbors, Pair
from nsn2n.report.spectrum import radial_spectrum, tiles_with_least_structure
from nsn2n.report.viewer_volumes import ViewerVolumes, pack_volumes
from nsn2n.result import DenoiseResult
from nsn2n.stack.sampling import evenly_spread
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["REMOVED_SD", "ReportData", "ShownSlice", "Spectrum", "collect_report"]

SHOWN = 3
"""Number of slices shown, plus one if the structure check found something."""
REMOVED_SD = 4.0
"""What was removed is shown from minus to plus this many noise sd."""
PERCENTILES = (1.0, 99.7)
"""Percentiles of the values, for the window of a modality without a fixed one."""
LOSS_POINTS = 200
_SMALLEST = np.float32(1e-30)
"""Used instead of a noise of 0, to avoid division by zero."""
SPECTRUM_PAIRS = 8


@dataclass(frozen=True, kw_only=True)
class ShownSlice:
    """One slice, shape (H, W) each."""

    index: int
    before: Float32Array
    after: Float32Array
    removed_sd: Float32Array
    """In units of the local noise."""


@dataclass(frozen=True, kw_only=True)
class Spectrum:
    """Noise power spectra, all of shape (n,)."""

    frequency_per_mm: NDArray[np.float64]
    """Per pixel if the spacing is not known."""
    before: NDArray[np.float64]
    removed: NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """Everything that a report shows of the voxels: a few slices and some curves."""

    shape_dhw: tuple[int, int, int]
    parts: tuple[int, ...]
    """Slices of each part, in order."""
    spacings_mm: tuple[Spacing | None, ...]
    """(slice, row, column) spacing of each part; None if it is not known."""
    modality: Modality | None
    record: dict[str, Any]
    """As `nsn2n.DenoiseResult.record` gives it."""
    versions: dict[str, str]
    window: tuple[float, float]
    slices: tuple[ShownSlice, ...]
    noise_before: Float32Array
    """Noise sd of each block of each slice, as the method estimated it, shape (D, ceil(H / 16), ceil(W / 16)); 0 where
    no neighbor overlaps it, or there is no measurement."""
    noise_after: Float32Array | None
    """The same after denoising, if it was measured on a simulated copy: neighbors share residual noise, so that their
    difference does not show it. None if it was not measured."""
    middle: int
    """The first slice of the pair of neighbors nearest to the middle of the volume."""
    matched_hw: NDArray[np.bool_]
    """Where that pair shows the same tissue, at the pixels of the first."""
    compared_hw: NDArray[np.bool_]
    """Where this is known: both slices overlap there, and hold a measurement."""
    spectrum: Spectrum
    loss: Float32Array
    """At most `LOSS_POINTS` means of consecutive steps."""
    steps: int
    excess_hw: Float32Array
    """As in `nsn2n.structure_check.StructureCheck`."""
    volumes: ViewerVolumes | None = None
    """The volumes of the viewer; None unless requested."""


def collect_report(stack: SliceStack, result: DenoiseResult, *, viewer: bool = False) -> ReportData:
    """Reduce a volume and its result of `nsn2n.denoise` to the data of a report.

    In a volume in parts only slices within one part are compared with each other, in a sheared one the slices as they
    were aligned with each other; voxels without a measurement are never compared.

    Parameters
    ----------
    stack : SliceStack
        The input of `nsn2n.denoise`; `SliceStack.of` creates one from an array.
    result : DenoiseResult
    viewer : bool
        Keep both volumes, packed, for ``viewer.html``.
    """
    noisy, depth = stack.values, len(stack.values)
    neighbors = Neighbors(stack, result.shears_px)
    middle = min(neighbors.pairs, key=lambda pair: abs(pair.first - (depth - 1) // 2))
    matched_hw, compared_hw = _matched(result, neighbors, middle)
    shown = tuple(_shown(noisy, result, index) for index in _indices(result, depth))
    noise_before, left = neighbors.noise(result.noise_sd), _noise_left(stack, result)
    return ReportData(
        shape_dhw=stack.shape_dhw,
        parts=stack.parts,
        spacings_mm=stack.spacings_mm,
        modality=stack.modality,
        record=result.record,
        versions=_versions(),
        window=_window(stack, shown),
        slices=shown,
        noise_before=noise_before,
        noise_after=None if left is None else noise_before * left[:, None, None],
        middle=middle.first,
        matched_hw=matched_hw,
        compared_hw=compared_hw,
        spectrum=_spectrum(noisy, result, neighbors, stack.pixel_spacing_mm or (1.0, 1.0)),
        loss=_thinned(result.loss),
        steps=len(result.loss),
        excess_hw=result.structure.excess_hw,
        volumes=_volumes(stack, result, noise_before) if viewer else None,
    )


def _volumes(stack: SliceStack, result: DenoiseResult, noise_before: Float32Array) -> ViewerVolumes:
    known = noise_before[noise_before > 0]
    found = {finding.index_zyx[0] for finding in result.structure.findings}
    measured = {one["slice"] for one in (result.record["contrast_kept"] or {"maps": []})["maps"]}
    noise_sd = float(np.median(known)) if known.size else 0.0
    return pack_volumes(stack.values, result.volume, noise_sd, stack.pixel_spacing_mm, found | measured)


def _noise_left(stack: SliceStack, result: DenoiseResult) -> Float32Array | None:
    """Return the ratio of residual noise to that of the source for each slice; blended-in source counts in full."""
    strength, of_parts = result.settings.strength, iter(result.parts or ((stack.parts[0], result.measured),))
    slices: list[float] = []
    for count in stack.parts:
        left = 1.0 if count == 1 else next(of_parts)[1].noise_left
        if left is None:
            return None
        slices += [1 - strength + strength * left] * count
    return np.asarray(slices, dtype=np.float32)


def _indices(result: DenoiseResult, depth: int) -> list[int]:
    even = {int(index) for index in np.rint(np.linspace(0, depth - 1, SHOWN + 2)[1:-1])}
    found = {finding.index_zyx[0] for finding in result.structure.findings[:1]}
    return sorted(even | found)


def _shown(noisy: Float32Array, result: DenoiseResult, index: int) -> ShownSlice:
    before, after, noise = noisy[index], result.volume[index], result.noise_sd[index]
    removed = np.divide(_removed(noisy, result, index), noise, out=np.zeros_like(before), where=noise > 0)
    return ShownSlice(index=index, before=before.copy(), after=after.copy(), removed_sd=removed)


def _removed(noisy: Float32Array, result: DenoiseResult, index: int) -> Float32Array:
    """Return what was removed from a slice, shape (H, W); 0 where that is not finite."""
    with np.errstate(invalid="ignore"):
        removed = noisy[index] - result.volume[index]
    return np.asarray(np.nan_to_num(removed, nan=0.0, posinf=0.0, neginf=0.0), dtype=np.float32)


def _matched(result: DenoiseResult, neighbors: Neighbors, pair: Pair) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return where a slice and the next one agree after denoising, by :mod:`nsn2n.training.match_refinement`,
    and the pixels for which this is known."""
    settings = result.settings.match
    matched, compared = np.zeros((2, *result.volume.shape[1:]), bool)
    compared[pair.in_first] = neighbors.usable(pair)
    if compared.any():
        noise = np.sqrt(0.5) * np.hypot(*pair.both(result.noise_sd))
        difference = pair.difference(result.volume) / np.maximum(noise, _SMALLEST)
        difference[~compared[pair.in_first]] = 0  # pixels without a measurement must not affect adjacent ones
        smooth = ndimage.gaussian_filter(difference, settings.refine_smoothing_px)
        matched[pair.in_first] = np.abs(smooth) <= settings.refine_threshold_sd
    return matched & compared, compared


def _window(stack: SliceStack, slices: Sequence[ShownSlice]) -> tuple[float, float]:
    window = policy_of(stack.modality).window
    if window is not None:
        return window
    present = [shown.before if stack.mask is None else shown.before[stack.mask[shown.index]] for shown in slices]
    values = np.concatenate([image.ravel() for image in present])
    low, high = (float(value) for value in np.percentile(values, PERCENTILES)) if values.size else (0.0, 1.0)
    return low, max(high, low + 1e-6)


def _spectrum(
    noisy: Float32Array, result: DenoiseResult, neighbors: Neighbors, pixel_mm: tuple[float, float]
) -> Spectrum:
    """Spectra of neighbor differences (twice the noise variance) and of what was removed, at the same squares."""
    before, removed = [], []
    pairs = neighbors.pairs
    for number in evenly_spread(len(pairs), SPECTRUM_PAIRS):
        pair = pairs[number]
        noisy_difference = pair.difference(noisy) * np.float32(np.sqrt(0.5))
        removed_hw = _removed(noisy, result, pair.first)[pair.in_first]
        for tile in tiles_with_least_structure(noisy_difference, neighbors.usable(pair)):
            before.append(noisy_difference[tile])
            removed.append(removed_hw[tile])
    frequency, power = radial_spectrum(before, pixel_mm)
    return Spectrum(
        frequency_per_mm=frequency,
        before=power,
        removed=radial_spectrum(removed, pixel_mm)[1],
    )


def _thinned(loss: Float32Array) -> Float32Array:
    parts = np.array_split(loss, min(len(loss), LOSS_POINTS)) if len(loss) else []
    return np.array([part.mean() for part in parts], dtype=np.float32)


def _versions() -> dict[str, str]:
    import torch

    return {
        "nsn2n": __version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
