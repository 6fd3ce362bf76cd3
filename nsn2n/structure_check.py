# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Tests whether what was removed looks like noise, or whether anatomy went with it.

Noise knows nothing of the edges in the neighboring slices, its local means are small, and there is no more of them than
the difference of neighboring slices shows. Each of the three is measured; what they come to without and with damage is
measured by ``benchmarks/structure.py``. Lesions and edges stand out from that, a loss within the noise does not: that
is measured on a copy whose truth is known (:mod:`nsn2n.simulated_copy`).
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

from nsn2n._aliases import Float32Array
from nsn2n.errors import VolumeError
from nsn2n.noise.level import MAD_TO_SD
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.settings import StructureSettings
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
    "moved_to_volume",
    "raise_on_failed_check",
]

Verdict = Literal["pass", "review", "fail"]

SIZES_PX = (1.0, 2.0)
"""Sizes of the structures that are looked for, as sd of a Gaussian: discs of some 3 and 6 pixels."""

_EDGE_PX = 1.0
"""An edge is what a slice has beyond its Gaussian mean of this sd."""
_EDGE_SD = 3.5
"""Fine detail of the mean of two neighbors beyond this many noise sd is an edge."""
_FEWEST_EDGE_PIXELS = 200
"""With fewer the share that was removed is too uncertain."""
_LEVEL_PX = 6.0
_HIGHEST_LEVEL = 1.5
"""Noise varies within the blocks in which it is estimated: by so much it may be higher, in a Gaussian of this sd."""
_BLOCK_PX = 32
_CLEAN_BLOCKS_PERCENTILE = 25.0
"""Where neighbors differ by anatomy, local means of their difference are large: the blocks with least are taken."""
_SAMPLE_PAIRS = 16


@dataclass(frozen=True, slots=True)
class Finding:
    """A place where something coherent was removed."""

    index_zyx: tuple[int, int, int]
    """Slice, row and column, from 0."""
    excess: float
    """Local mean of the removed part, in standard deviations of such a mean of noise; negative: it was made darker."""
    size_px: float
    """Sd of the Gaussian in which it stands out most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructureCheck:
    """What was found in the removed part of a volume."""

    verdict: Verdict
    """The worst of all."""
    edges: float | None
    """Share of the fine detail of edges that was removed, at least: two standard errors are taken off. 0 for noise;
    None where there are too few edges to tell."""
    detail: float | None = None
    """Part of the faint detail that a simulated copy lost; None where it has none that is surely no noise."""
    contrast: float | None = None
    """Part of the contrast that faint discs lost; None where there was room for few."""
    excess: float
    """Largest local mean of the removed part, in standard deviations of such a mean of noise."""
    coherence: float
    """Root mean square of all local means over that of noise: above 1 more was removed than there was noise."""
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
    """What was found in one slice."""

    edges: NDArray[np.float64]
    """As :func:`_at_edges` returns it."""
    power: list[float]
    """Mean square of the local means of each size."""
    findings: list[Finding]


def joined_structure(checks: Sequence[tuple[int, StructureCheck]]) -> StructureCheck:
    """Return what was found in all parts of a volume: the worst of each measure, and all places.

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
    """Return what was found on the canvases of a sheared stack, said of its slices."""
    findings = []
    for found in structure.findings:
        index, row, column = found.index_zyx
        top, left = layout.offset(index)
        findings.append(replace(found, index_zyx=(index, row - top, column - left)))
    # A place of the canvas belongs to another pixel in each slice: to the largest of all that it may belong to.
    excess_dhw = layout.gather(np.broadcast_to(structure.excess_hw, layout.shape_dhw))
    return replace(structure, findings=tuple(findings), excess_hw=excess_dhw.max(axis=0))


def moved_to_volume(structure: StructureCheck, box: Box) -> StructureCheck:
    """Return what was found in a box of a volume, said of the volume."""
    findings = []
    for found in structure.findings:
        z, y, x = np.add(found.index_zyx, box.start_zyx).tolist()
        findings.append(replace(found, index_zyx=(z, y, x)))
    excess_hw = np.zeros(box.shape_dhw[1:], np.float32)
    excess_hw[box.place[1:]] = structure.excess_hw
    return replace(structure, findings=tuple(findings), excess_hw=excess_hw)


def raise_on_failed_check(record: Mapping[str, Any], *, force: bool = False) -> None:
    """Refuse a volume of which the check says ``fail``.

    Parameters
    ----------
    record : mapping
        As :attr:`StructureCheck.record` gives it; empty if nothing was checked.
    force : bool
        Let it pass.

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
            f" {record['excess']:.1f} sd, coherence {record['coherence']:.2f}{lost}). Nothing was written; look at the"
            " source, try another preset or strength, or write it all the same with --force (force: true)."
        )


def limits_of(name: str, settings: Mapping[str, float], *, detail: float | None) -> tuple[float, float]:
    """Return beyond which value of a measure the verdict is ``review``, and beyond which ``fail``.

    Parameters
    ----------
    name : str
        ``edges``, ``detail``, ``contrast``, ``excess`` or ``coherence``.
    settings : mapping
        Fields of :class:`nsn2n.settings.StructureSettings` and their values.
    detail : float, optional
        What was found of faint detail. Where it is known it says more of this anatomy than discs, which are fainter
        than most of it: these alone fail no result then.
    """
    review, fail = settings[f"{name}_review"], settings[f"{name}_fail"]
    return (fail, math.inf) if name == "contrast" and detail is not None else (review, fail)


def check_structure(
    noisy_dhw: Float32Array,
    denoised_dhw: Float32Array,
    noise_sd_dhw: Float32Array,
    settings: StructureSettings | None = None,
    *,
    floor: float = 0.0,
    valid: NDArray[np.bool_] | None = None,
    detail_lost: float | None = None,
    contrast_lost: float | None = None,
    most_findings: int = 20,
) -> StructureCheck:
    """Judge what was removed from a volume.

    Parameters
    ----------
    noisy_dhw, denoised_dhw : ndarray, shape (D, H, W), float32, finite
        Of MR magnitudes before the mean of their noise is subtracted, since that mean follows the anatomy.
    noise_sd_dhw : ndarray, same shape
        Local noise sd, same unit.
    settings : StructureSettings, optional
        Limits of the verdict.
    floor : float
        The least noise sd that counts, where something is divided by it.
    valid : ndarray, same shape, bool, optional
        Voxels that count; all by default.
    detail_lost : float, optional
        Part of the faint detail that a simulated copy lost (:mod:`nsn2n.simulated_copy`).
    contrast_lost : float, optional
        Part of the contrast that faint discs lost (:mod:`nsn2n.contrast_kept`).
    most_findings : int
        How many places are kept, the largest of all.

    Notes
    -----
    Own method. The edges of a slice are taken from its two neighbors, whose noise is not that of the slice, as in
    ``benchmarks/measures.py``; small structures as in :mod:`nsn2n.filters.removed_structure`.
    """
    settings = settings or StructureSettings()
    noise_means = _noise_means(noisy_dhw, noise_sd_dhw, floor)

    def judge(index: int) -> _Judged:
        removed_hw = _in_noise(noisy_dhw[index] - denoised_dhw[index], noise_sd_dhw[index], floor)
        if valid is not None:
            removed_hw[~valid[index]] = 0.0
        inner = 0 < index < len(noisy_dhw) - 1
        edges = _at_edges(removed_hw, noisy_dhw, noise_sd_dhw, index, floor) if inner else np.zeros(3)
        level_hw = _noise_level(noisy_dhw, noise_sd_dhw, index, floor)
        power, findings = [], []
        excess = np.zeros_like(removed_hw)
        for size_px, noise_mean in zip(SIZES_PX, noise_means, strict=True):
            mean_hw = ndimage.gaussian_filter(removed_hw, size_px) / (noise_mean * level_hw)
            power.append(float(np.square(mean_hw).mean()))
            np.maximum(excess, np.abs(mean_hw), out=excess)
            findings += _findings(mean_hw, index, size_px, settings.excess_review)
        with together:
            np.maximum(excess_hw, excess, out=excess_hw)
        return _Judged(edges, power, findings)

    excess_hw = np.zeros(noisy_dhw.shape[1:], np.float32)
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
        excess_hw=excess_hw,
    )


def _in_noise(values_hw: Float32Array, noise_sd_hw: Float32Array, floor: float) -> Float32Array:
    noise = np.maximum(noise_sd_hw, floor)
    return np.divide(values_hw, noise, out=np.zeros_like(values_hw), where=noise > 0)


def _noise_means(noisy_dhw: Float32Array, noise_sd_dhw: Float32Array, floor: float) -> list[float]:
    """Standard deviation of the local means of noise, for each of the sizes, from differences of neighbors."""
    pairs = len(noisy_dhw) - 1
    sample = evenly_spread(pairs, _SAMPLE_PAIRS)

    def clean_sds(index: int) -> list[float]:
        difference = (noisy_dhw[index + 1] - noisy_dhw[index]) * np.float32(math.sqrt(0.5))
        noise_hw = _in_noise(difference, noise_sd_dhw[index], floor)
        return [_clean_sd(ndimage.gaussian_filter(noise_hw, size_px)) for size_px in SIZES_PX]

    found = zip(*for_each_slice(clean_sds, sample), strict=True)
    # Never below what white noise keeps by half: rounding, where neighbors are equal.
    return [
        max(float(np.median(sds)), 0.25 / (math.sqrt(math.pi) * px)) for sds, px in zip(found, SIZES_PX, strict=True)
    ]


def _noise_level(noisy_dhw: Float32Array, noise_sd_dhw: Float32Array, index: int, floor: float) -> Float32Array:
    """Local noise of a slice over its estimate, shape (H, W), 1 to `_HIGHEST_LEVEL`.

    From the difference of the two neighbors, so that what is in this slice alone does not raise it.
    """
    before, after = noisy_dhw[max(index - 1, 0)], noisy_dhw[min(index + 1, len(noisy_dhw) - 1)]
    noise_hw = _in_noise((after - before) * np.float32(math.sqrt(0.5)), noise_sd_dhw[index], floor)
    power_hw = ndimage.gaussian_filter(np.square(np.clip(noise_hw, -5.0, 5.0)), _LEVEL_PX)
    return np.asarray(np.clip(np.sqrt(power_hw), 1.0, _HIGHEST_LEVEL), dtype=np.float32)


def _clean_sd(mean_hw: Float32Array) -> float:
    """Robust standard deviation in the blocks with least structure."""
    rows, columns = (max(size // _BLOCK_PX, 1) for size in mean_hw.shape)
    blocks = [
        float(np.median(np.abs(block)))
        for strip in np.array_split(mean_hw, rows, axis=0)
        for block in np.array_split(strip, columns, axis=1)
    ]
    present = [sd for sd in blocks if sd > 0] or [0.0]
    return float(np.percentile(present, _CLEAN_BLOCKS_PERCENTILE)) * MAD_TO_SD


def _at_edges(
    removed_hw: Float32Array, noisy_dhw: Float32Array, noise_sd_dhw: Float32Array, index: int, floor: float
) -> NDArray[np.float64]:
    """Sums over the edges of a slice: removed part times detail, squared detail, pixels."""
    neighbors = 0.5 * (noisy_dhw[index - 1] + noisy_dhw[index + 1])
    detail = _in_noise(neighbors - ndimage.gaussian_filter(neighbors, _EDGE_PX), noise_sd_dhw[index], floor)
    edge = np.abs(detail) > _EDGE_SD
    at_edge = detail[edge].astype(np.float64)
    return np.array([(removed_hw[edge] * at_edge).sum(), np.square(at_edge).sum(), at_edge.size])


def _share(product: float, square: float, pixels: float) -> float | None:
    """Regression of the removed part on the detail of edges; its error is that of noise of sd 1 in each pixel."""
    if pixels < _FEWEST_EDGE_PIXELS:
        return None
    return max(0.0, float(product / square - 2.0 / math.sqrt(square)))


def _findings(mean_hw: Float32Array, index: int, size_px: float, limit: float) -> list[Finding]:
    """The places of a slice whose local mean is beyond a limit, each by its largest value."""
    beyond = np.abs(mean_hw) > limit
    if not beyond.any():
        return []
    labels, count = ndimage.label(beyond)
    places = ndimage.maximum_position(np.abs(mean_hw), labels, range(1, count + 1))
    return [Finding((index, int(row), int(column)), float(mean_hw[row, column]), size_px) for row, column in places]


def _largest(findings: list[Finding], most: int) -> tuple[Finding, ...]:
    """The largest findings, one of those that lie on each other at several sizes."""
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
