# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Tests whether what was removed looks like noise, or whether anatomy was removed with it.

Noise is independent of the edges in the neighboring slices, its local means are small, and its level is that of the
difference of neighboring slices. Each of the three is tested; their values without and with damage are
measured by ``benchmarks/structure.py``. Lost lesions and edges stand out from the noise, a loss within the noise does
not: that is measured on a copy for which the truth is known (:mod:`nsn2n.simulated_copy`).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import divided, double, in_memory_of, namespace, on_host, total
from nsn2n.arrays.planes import gaussian
from nsn2n.arrays.ranks import median
from nsn2n.errors import VolumeError
from nsn2n.noise.blocks import MAD_TO_SD
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.settings import StructureSettings
from nsn2n.stack.acquired_grid import AcquiredGrid
from nsn2n.stack.background import Box
from nsn2n.stack.sampling import evenly_spread
from nsn2n.stack.shear import Layout

__all__ = [
    "Finding",
    "StructureCheck",
    "Verdict",
    "check_structure",
    "joined_structure",
    "limits_of",
    "moved_to_slices",
    "moved_to_stored",
    "moved_to_volume",
    "raise_on_failed_check",
]

Verdict = Literal["pass", "review", "fail"]

SIZES_PX = (1.0, 2.0)
"""Sizes of the structures searched for, as sd of a Gaussian: discs of about 3 and 6 pixels."""

_EDGE_PX = 1.0
"""Edges are the difference of a slice from its Gaussian mean of this sd."""
_EDGE_SD = 3.5
"""Fine detail of the mean of two neighbors beyond this many noise sd is an edge."""
_FEWEST_EDGE_PIXELS = 200
"""With fewer, the removed fraction is too uncertain."""
_LEVEL_PX = 6.0
_HIGHEST_LEVEL = 1.5
"""Noise varies within the blocks in which it is estimated: by up to this factor, in a Gaussian of this sd."""
_BLOCK_PX = 32
_CLEAN_BLOCKS_PERCENTILE = 25.0
"""Local means of neighbor differences are large where anatomy differs; the blocks with the smallest are used."""
_SAMPLE_PAIRS = 16
_HALF_POWER = float(np.float32(math.sqrt(0.5)))
"""Factor that gives the difference of two slices the noise of one."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where something coherent was removed."""

    index_zyx: tuple[int, int, int]
    """Slice, row and column, from 0."""
    excess: float
    """Local mean of the removed part, in standard deviations of such a mean of noise; negative: it was dark."""
    size_px: float
    """Sd of the Gaussian in which it is most prominent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureCheck:
    """What was found in the removed part of a volume."""

    verdict: Verdict
    """The worst verdict of all measures."""
    edges: float | None
    """Lower bound of the removed fraction of the fine detail of edges: two standard errors are subtracted. 0 for noise;
    None if there are too few edges."""
    detail: float | None = None
    """Fraction of faint detail lost on a simulated copy; None if it has none clearly distinguishable from noise."""
    contrast: float | None = None
    """Fraction of contrast lost by faint discs; None if there was space for too few."""
    excess: float
    """Largest local mean of the removed part, in standard deviations of such a mean of noise."""
    coherence: float
    """Root mean square of all local means relative to that of noise; above 1, more than noise was removed."""
    findings: tuple[Finding, ...]
    """Where the excess is beyond its limit for review, the largest first."""
    excess_hw: Float32Array
    """Shape (H, W): largest excess of each pixel over the slices."""

    def summary(self) -> str:
        """Return one line of ASCII."""
        edges = "too few edges to judge" if self.edges is None else f"{self.edges:.1%} of the edges' fine detail"
        if self.detail is not None:
            detail = f"{self.detail:.0%} of the faint detail"
        else:
            detail = "faint detail hidden by noise" if self.contrast is not None else "faint detail not measured"
        if self.contrast is not None:
            detail += f", {self.contrast:.0%} of the contrast of faint discs"
        return (
            f"structure check {self.verdict} ({edges}, {detail}, largest local mean {self.excess:.1f} sd, "
            f"coherence {self.coherence:.2f}, {len(self.findings)} places)"
        )

    @property
    def record(self) -> dict[str, Any]:
        """Plain values that JSON can hold."""
        return {
            "verdict": self.verdict,
            "edges": self.edges,
            "detail": self.detail,
            "contrast": self.contrast,
            "excess": self.excess,
            "coherence": self.coherence,
            "findings": [
                {"index_zyx": list(found.index_zyx), "excess": found.excess, "size_px": found.size_px}
                for found in self.findings
            ],
        }


@dataclass(frozen=True, slots=True)
class _Judged:
    """Measurements of one slice."""

    edges: NDArray[np.float64]
    """As returned by :func:`_at_edges`."""
    power: list[float]
    """Mean square of the local means of each size."""
    findings: list[Finding]


def joined_structure(checks: Sequence[tuple[int, StructureCheck]]) -> StructureCheck:
    """Return the check of all parts of a volume combined: the worst of each measure, and all places.

    Parameters
    ----------
    checks : sequence of (int, StructureCheck)
        The first slice of each part in the volume, and what was found in that part.
    """
    edges = [check.edges for _, check in checks if check.edges is not None]
    detail = [check.detail for _, check in checks if check.detail is not None]
    contrast = [check.contrast for _, check in checks if check.contrast is not None]
    findings = [
        replace(found, index_zyx=(found.index_zyx[0] + start, *found.index_zyx[1:]))
        for start, check in checks
        for found in check.findings
    ]
    return StructureCheck(
        verdict=max((check.verdict for _, check in checks), key=get_args(Verdict).index),
        edges=max(edges) if edges else None,
        detail=max(detail) if detail else None,
        contrast=max(contrast) if contrast else None,
        excess=max(check.excess for _, check in checks),
        coherence=max(check.coherence for _, check in checks),
        findings=tuple(sorted(findings, key=lambda found: -abs(found.excess))),
        excess_hw=np.max([check.excess_hw for _, check in checks], axis=0),
    )


def moved_to_slices(structure: StructureCheck, layout: Layout) -> StructureCheck:
    """Return the check on the canvases of a sheared stack, in coordinates of its slices."""
    findings = []
    for found in structure.findings:
        index, row, column = found.index_zyx
        top, left = layout.offset(index)
        findings.append(replace(found, index_zyx=(index, row - top, column - left)))
    # A pixel of the canvas is a different pixel in each slice: the largest value of all candidates is used.
    excess_dhw = layout.gather(np.broadcast_to(structure.excess_hw, layout.shape_dhw))
    return replace(structure, findings=tuple(findings), excess_hw=excess_dhw.max(axis=0))


def moved_to_volume(structure: StructureCheck, box: Box) -> StructureCheck:
    """Return the check of a box of a volume, in coordinates of the volume."""
    findings = []
    for found in structure.findings:
        z, y, x = np.add(found.index_zyx, box.start_zyx).tolist()
        findings.append(replace(found, index_zyx=(z, y, x)))
    excess_hw = np.zeros(box.shape_dhw[1:], np.float32)
    excess_hw[box.place[1:]] = structure.excess_hw
    return replace(structure, findings=tuple(findings), excess_hw=excess_hw)


def moved_to_stored(structure: StructureCheck, grid: AcquiredGrid) -> StructureCheck:
    """Return the check of slices on their acquired grid, in coordinates of the stored slices."""
    findings = []
    for found in structure.findings:
        index, *place = found.index_zyx
        size_px = found.size_px * max(grid.pixels)
        findings.append(replace(found, index_zyx=(index, *grid.stored_place(*place)), size_px=size_px))
    return replace(structure, findings=tuple(findings), excess_hw=grid.repeated(structure.excess_hw))


def raise_on_failed_check(record: Mapping[str, Any], *, force: bool = False) -> None:
    """Refuse a volume whose verdict is ``fail``.

    Parameters
    ----------
    record : mapping
        As :attr:`StructureCheck.record`; empty if nothing was checked.
    force : bool
        Accept it nevertheless.

    Raises
    ------
    VolumeError
        If anatomy was removed with the noise.
    """
    if record.get("verdict") == "fail" and not force:
        detail = record.get("detail")
        contrast = record.get("contrast")
        lost = "" if detail is None else f", {detail:.0%} of the faint detail lost"
        lost += "" if contrast is None else f", {contrast:.0%} of the contrast of faint discs lost"
        raise VolumeError(
            "what was removed must look like noise; the structure check says fail (largest local mean"
            f" {record['excess']:.1f} sd, coherence {record['coherence']:.2f}{lost}). Nothing was written; check the"
            " source, try another preset or strength, or write it anyway with --force (force: true)."
        )


def limits_of(name: str, settings: Mapping[str, float], *, detail: float | None) -> tuple[float, float]:
    """Return the values of a measure beyond which the verdict is ``review`` and ``fail``.

    Parameters
    ----------
    name : str
        ``edges``, ``detail``, ``contrast``, ``excess`` or ``coherence``.
    settings : mapping
        Fields of :class:`nsn2n.settings.StructureSettings` and their values.
    detail : float, optional
        Loss of faint detail. If known, it is more representative of this anatomy than discs, which are fainter
        than most of it: discs alone then fail no result.
    """
    review, fail = settings[f"{name}_review"], settings[f"{name}_fail"]
    return (fail, math.inf) if name == "contrast" and detail is not None else (review, fail)


def check_structure(
    noisy_dhw: Array,
    denoised_dhw: Array,
    noise_sd_dhw: Array,
    settings: StructureSettings | None = None,
    *,
    floor: float = 0.0,
    valid: Array | None = None,
    detail_lost: float | None = None,
    contrast_lost: float | None = None,
    most_findings: int = 20,
) -> StructureCheck:
    """Judge what was removed from a volume.

    Parameters
    ----------
    noisy_dhw, denoised_dhw : array, shape (D, H, W), float32, finite
        MR magnitudes before the mean of their noise is subtracted, since that mean follows the anatomy.
    noise_sd_dhw : array, same shape
        Local noise sd, same unit.
    settings : StructureSettings, optional
        Limits of the verdict.
    floor : float
        Lower bound of the noise sd where it is a divisor.
    valid : array, same shape, bool, optional
        Voxels that count; all by default.
    detail_lost : float, optional
        Fraction of faint detail lost on a simulated copy (:mod:`nsn2n.simulated_copy`).
    contrast_lost : float, optional
        Fraction of contrast lost by faint discs (:mod:`nsn2n.contrast_kept`).
    most_findings : int
        Maximum number of places kept, the largest ones.

    Notes
    -----
    Own method. The edges of a slice are taken from its two neighbors, whose noise is independent, as in
    ``benchmarks/measures.py``; small structures as in :mod:`nsn2n.filters.removed_structure`.
    """
    settings = settings or StructureSettings()
    noise_means = _noise_means(noisy_dhw, noise_sd_dhw, floor)
    xp = namespace(noisy_dhw)
    border_sd = {size_px: in_memory_of(_border_sd(noisy_dhw.shape[1:], size_px), noisy_dhw) for size_px in SIZES_PX}

    def judge(index: int) -> _Judged:
        removed_hw = _in_noise(noisy_dhw[index] - denoised_dhw[index], noise_sd_dhw[index], floor)
        if valid is not None:
            removed_hw[~valid[index]] = 0.0
        inner = 0 < index < len(noisy_dhw) - 1
        edges = _at_edges(removed_hw, noisy_dhw, noise_sd_dhw, index, floor) if inner else np.zeros(3)
        level_hw = _noise_level(noisy_dhw, noise_sd_dhw, index, floor)
        power, findings = [], []
        excess = xp.zeros_like(removed_hw)
        for size_px, noise_mean in zip(SIZES_PX, noise_means, strict=True):
            mean_hw = gaussian(removed_hw, size_px) / (noise_mean * level_hw * border_sd[size_px])
            power.append(float(xp.square(mean_hw).mean()))
            xp.maximum(excess, abs(mean_hw), out=excess)
            findings += _findings(mean_hw, index, size_px, settings.excess_review)
        with together:
            xp.maximum(excess_hw, excess, out=excess_hw)
        return _Judged(edges, power, findings)

    excess_hw = xp.zeros_like(noisy_dhw[0])
    together = threading.Lock()
    judged = for_each_slice(judge, range(len(noisy_dhw)))
    edges = np.sum([slice_.edges for slice_ in judged], axis=0)
    power = np.mean([slice_.power for slice_ in judged], axis=0)
    findings = [finding for slice_ in judged for finding in slice_.findings]
    found = {
        "edges": _share(*edges),
        "detail": detail_lost,
        "contrast": contrast_lost,
        "excess": float(excess_hw.max()),
        "coherence": math.sqrt(float(power.max())),
    }
    return StructureCheck(
        verdict=_verdict(found, settings),
        edges=found["edges"],
        detail=detail_lost,
        contrast=contrast_lost,
        excess=found["excess"] or 0.0,
        coherence=found["coherence"] or 0.0,
        findings=_largest(findings, most_findings),
        excess_hw=on_host(excess_hw),
    )


def _in_noise(values_hw: Array, noise_sd_hw: Array, floor: float) -> Array:
    return divided(values_hw, noise_sd_hw.clip(min=floor))


def _noise_means(noisy_dhw: Array, noise_sd_dhw: Array, floor: float) -> list[float]:
    """Standard deviation of the local means of noise, for each of the sizes, from differences of neighbors."""
    pairs = len(noisy_dhw) - 1
    sample = evenly_spread(pairs, _SAMPLE_PAIRS)

    def clean_sds(index: int) -> list[float]:
        difference = (noisy_dhw[index + 1] - noisy_dhw[index]) * _HALF_POWER
        noise_hw = _in_noise(difference, noise_sd_dhw[index], floor)
        return [_clean_sd(gaussian(noise_hw, size_px)) for size_px in SIZES_PX]

    found = zip(*for_each_slice(clean_sds, sample), strict=True)
    # At least half the value for white noise, for rounded data with equal neighbors.
    return [
        max(float(np.median(sds)), 0.25 / (math.sqrt(math.pi) * px)) for sds, px in zip(found, SIZES_PX, strict=True)
    ]


def _border_sd(shape_hw: tuple[int, int], size_px: float) -> Float32Array:
    """Return the standard deviation of the local means of noise over that inside, shape (H, W).

    At the border a mean counts mirrored pixels twice: it has more noise, in a corner twice as much.
    """
    rows, columns = (
        np.sqrt(np.square(ndimage.gaussian_filter1d(np.eye(size), size_px, axis=0)).sum(axis=1)) for size in shape_hw
    )
    return np.outer(rows / rows.min(), columns / columns.min()).astype(np.float32)


def _noise_level(noisy_dhw: Array, noise_sd_dhw: Array, index: int, floor: float) -> Array:
    """Return the local noise of a slice relative to its estimate, shape (H, W), 1 to `_HIGHEST_LEVEL`.

    It comes from the difference of the two neighbors, so that a structure only in this slice does not raise it.
    """
    xp = namespace(noisy_dhw)
    before, after = noisy_dhw[max(index - 1, 0)], noisy_dhw[min(index + 1, len(noisy_dhw) - 1)]
    noise_hw = _in_noise((after - before) * _HALF_POWER, noise_sd_dhw[index], floor)
    power_hw = gaussian(xp.square(noise_hw.clip(-5.0, 5.0)), _LEVEL_PX)
    return xp.sqrt(power_hw).clip(1.0, _HIGHEST_LEVEL)


def _clean_sd(mean_hw: Array) -> float:
    """Robust standard deviation in the blocks with the least structure."""
    rows, columns = (max(size // _BLOCK_PX, 1) for size in mean_hw.shape)
    height, width = mean_hw.shape[0] // rows, mean_hw.shape[1] // columns
    cut = abs(mean_hw)[: rows * height, : columns * width]
    of_blocks = on_host(median(cut.reshape(rows, height, columns, width).swapaxes(1, 2).reshape(rows, columns, -1)))
    present = of_blocks[of_blocks > 0]
    return float(np.percentile(present, _CLEAN_BLOCKS_PERCENTILE)) * MAD_TO_SD if present.size else 0.0


def _at_edges(
    removed_hw: Array, noisy_dhw: Array, noise_sd_dhw: Array, index: int, floor: float
) -> NDArray[np.float64]:
    """Sums over the edges of a slice: removed part times detail, squared detail, pixels."""
    neighbors = 0.5 * (noisy_dhw[index - 1] + noisy_dhw[index + 1])
    detail = _in_noise(neighbors - gaussian(neighbors, _EDGE_PX), noise_sd_dhw[index], floor)
    edge = abs(detail) > _EDGE_SD
    at_edge = double(detail[edge])
    return np.array([total(removed_hw[edge] * at_edge), total(at_edge * at_edge), len(at_edge)])


def _share(product: float, square: float, pixels: float) -> float | None:
    """Regression of the removed part on the detail of edges; its error assumes noise of sd 1 in each pixel."""
    if pixels < _FEWEST_EDGE_PIXELS:
        return None
    return max(0.0, float(product / square - 2.0 / math.sqrt(square)))


def _findings(mean_hw: Array, index: int, size_px: float, limit: float) -> list[Finding]:
    """Return the places of a slice whose local mean is beyond a limit, each by its largest value."""
    if not bool((abs(mean_hw) > limit).any()):
        return []
    mean_hw = on_host(mean_hw)
    beyond = np.abs(mean_hw) > limit
    labels, count = ndimage.label(beyond)
    places = ndimage.maximum_position(np.abs(mean_hw), labels, range(1, count + 1))
    return [Finding((index, int(row), int(column)), float(mean_hw[row, column]), size_px) for row, column in places]


def _largest(findings: list[Finding], most: int) -> tuple[Finding, ...]:
    """Return the largest findings, keeping one of those that overlap at several sizes."""
    kept: list[Finding] = []
    for found in sorted(findings, key=lambda found: -abs(found.excess)):
        if len(kept) == most:
            break
        z, y, x = found.index_zyx
        if not any(z == k[0] and math.hypot(y - k[1], x - k[2]) <= 6 for k in (other.index_zyx for other in kept)):
            kept.append(found)
    return tuple(kept)


def _verdict(found: dict[str, float | None], settings: StructureSettings) -> Verdict:
    worst: Verdict = "pass"
    for name, value in found.items():
        if value is None:
            continue
        review, fail = limits_of(name, asdict(settings), detail=found["detail"])
        if value > fail:
            return "fail"
        if value > review:
            worst = "review"
    return worst
