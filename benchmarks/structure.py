# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""False alarms of the structure check, and its power to detect deliberate damage.

    python benchmarks/structure.py [--half report|tune] [--cases ...] [--presets smooth fast] [--seeds ...]

The limits in `nsn2n.settings.StructureSettings` were chosen with `--half tune`; the figures in the documentation come
from `--half report`. Prints three tables: verdicts on the presets' unchanged results (false alarms), verdicts on
damaged results of the first preset (power), and the fraction of single erased lesions that are found, by diameter and
contrast.
"""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from cases import Case, MissingData, half_of, make_case
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle
from spots import Kind

import nsn2n
from nsn2n.noise.correlation import slice_correlation
from nsn2n.noise.level import NoiseMap, measure_noise
from nsn2n.settings import StructureSettings
from nsn2n.structure_check import Finding, StructureCheck, check_structure

Volume = NDArray[np.float32]

NAMES = (
    *("mr-rician-5", "mr-rician-7", "mr-rician-9", "ct-real"),
    *("ct-lowdose-full", "ct-lowdose-half", "ct-lowdose-quarter", "ct-lowdose-eighth"),
)
OTHER_SLICES = ("mr-rician-5/every-2", "mr-rician-5/lag-0.2", "ct-lowdose-quarter/lag-0.2", "ct-real/every-2")
SPOT_REACH_PX = 4
"""A finding within this distance of a spot's center counts as that spot."""


@dataclass(frozen=True)
class Output:
    """A case, and its result from a preset before the correction for the mean of Rician noise."""

    case: Case
    preset: str
    denoised: Volume


def slice_by_slice(change: Callable[[Volume, float], Volume]) -> Callable[[Volume, Volume, float], Volume]:
    """Return a damage function that applies a change to each noisy slice."""
    return lambda noisy, denoised, sd: np.stack([change(slice_hw, sd) for slice_hw in noisy]).astype(np.float32)


def after_denoising(change: Callable[[Volume, float], Volume]) -> Callable[[Volume, Volume, float], Volume]:
    """Return a damage function that applies a change to each denoised slice."""
    return lambda noisy, denoised, sd: np.stack([change(slice_hw, sd) for slice_hw in denoised]).astype(np.float32)


DAMAGE: dict[str, Callable[[Volume, Volume, float], Volume]] = {
    "Gaussian 0.7 px": slice_by_slice(lambda hw, sd: ndimage.gaussian_filter(hw, 0.7)),
    "Gaussian 1 px": slice_by_slice(lambda hw, sd: ndimage.gaussian_filter(hw, 1.0)),
    "Gaussian 1.5 px": slice_by_slice(lambda hw, sd: ndimage.gaussian_filter(hw, 1.5)),
    "median 3 x 3": slice_by_slice(lambda hw, sd: ndimage.median_filter(hw, 3)),
    "median 5 x 5": slice_by_slice(lambda hw, sd: ndimage.median_filter(hw, 5)),
    "TV, weight 1 noise sd": slice_by_slice(
        lambda hw, sd: denoise_tv_chambolle(hw / sd, weight=1.0, max_num_iter=60) * sd
    ),
    "TV, weight 3 noise sd": slice_by_slice(
        lambda hw, sd: denoise_tv_chambolle(hw / sd, weight=3.0, max_num_iter=60) * sd
    ),
    "NLM, h 2 noise sd": slice_by_slice(lambda hw, sd: denoise_nl_means(hw, patch_size=5, patch_distance=3, h=2 * sd)),
    "mean of 3 slices": lambda noisy, denoised, sd: ndimage.uniform_filter1d(noisy, 3, axis=0),
    "result, then Gaussian 0.7 px": after_denoising(lambda hw, sd: ndimage.gaussian_filter(hw, 0.7)),
    "result, then median 3 x 3": after_denoising(lambda hw, sd: ndimage.median_filter(hw, 3)),
}
"""Functions from noisy volume, denoised volume and median noise sd to the result of a bad denoiser."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--half", choices=["report", "tune"], default="report")
    parser.add_argument("--cases", nargs="+", default=[*NAMES, *OTHER_SLICES])
    parser.add_argument("--presets", nargs="+", default=["smooth", "fast"])
    parser.add_argument("--seeds", nargs="+", type=int)
    parser.add_argument("--size", choices=["tiny", "small", "full"], default="small")
    parser.add_argument("--budget", type=float, help="seconds for each volume; no limit unless given")
    options = parser.parse_args()
    seeds = options.seeds or {"report": [1, 3], "tune": [0, 2]}[options.half]
    if any(half_of(seed) != options.half for seed in seeds):
        parser.error("even seeds tune, odd ones report")
    show(make_outputs(options.cases, options.presets, seeds, options.size, options.budget), options.presets[0])


def make_outputs(
    names: Sequence[str], presets: Sequence[str], seeds: Sequence[int], size: str, budget_s: float | None = None
) -> Iterator[Output]:
    """Denoise each case with each preset; a case whose data is not available is left out."""
    for name in names:
        for seed in seeds:
            try:
                case = make_case(name, size, seed)  # type: ignore[arg-type]
            except MissingData as error:
                print(error)
                continue
            for preset in presets:
                config = {"rician": False, "budget_s": budget_s}
                result = nsn2n.denoise(case.noisy, modality=case.modality, preset=preset, config=config)
                yield Output(case, preset, result.volume)


def show(outputs: Iterator[Output], damaged_preset: str) -> None:
    """Print the three tables; the results of one preset are damaged."""
    own: dict[str, list[StructureCheck]] = defaultdict(list)
    damaged: dict[str, list[StructureCheck]] = defaultdict(list)
    found: dict[tuple[str, Kind, float], list[tuple[bool, bool]]] = defaultdict(list)
    for output in outputs:
        case = output.case
        noise = noise_of(case.noisy)
        own[f"{output.preset}: {case.modality}"].append(judge(case.noisy, output.denoised, noise))
        if output.preset != damaged_preset:
            continue
        for name, change in DAMAGE.items():
            volume = change(case.noisy, output.denoised, noise.median)
            damaged[name].append(judge(case.noisy, volume, noise))
        if case.with_spots is not None:
            spot_noise = noise_of(case.with_spots)
            for share in (1.0, 0.5):
                kept = output.denoised + np.float32(1 - share) * (case.with_spots - case.noisy)
                name = "all lesions erased" if share == 1 else "all lesions halved"
                damaged[name].append(judge(case.with_spots, kept, spot_noise))
                for kind, seen in lesions_found(output, kept, spot_noise):
                    found[case.modality, kind, share].append(seen)
    console = Console(width=120)
    console.print(verdicts(own, "no damage: false alarms"))
    console.print(verdicts(damaged, "damage: power"))
    table = Table(
        "", "lesion", "erased: review, %", "erased: fail, %", "halved: review, %", "n", title="single lesions"
    )
    for modality, kind in sorted({(modality, kind) for modality, kind, _ in found}):
        erased, halved = (np.array(found[modality, kind, share]) for share in (1.0, 0.5))
        table.add_row(
            modality,
            f"{kind.diameter_px} px, {kind.noise_sds} noise sd, {kind.slices} slice(s)",
            *(f"{100 * values.mean():.0f}" for values in (erased[:, 0], erased[:, 1], halved[:, 0])),
            str(len(erased)),
        )
    console.print(table)


def noise_of(noisy: Volume) -> NoiseMap:
    """Return the noise as `nsn2n.denoise` estimates it."""
    return measure_noise(noisy).shared(slice_correlation(noisy))


def judge(noisy: Volume, denoised: Volume, noise: NoiseMap, most_findings: int = 20) -> StructureCheck:
    """Return the structure check as `nsn2n.denoise` performs it."""
    return check_structure(noisy, denoised, noise.sd, floor=noise.floor, most_findings=most_findings)


def lesions_found(output: Output, kept: Volume, noise: NoiseMap) -> Iterator[tuple[Kind, tuple[bool, bool]]]:
    """Yield for each spot whether it exceeds the limit for review, and the limit for failure."""
    assert output.case.with_spots is not None
    findings = judge(output.case.with_spots, kept, noise, most_findings=10_000).findings
    by_slice: dict[int, list[Finding]] = defaultdict(list)
    for found in findings:
        by_slice[found.index_zyx[0]].append(found)
    for spot in output.case.spots:
        row, column = float(np.mean(spot.rows)), float(np.mean(spot.columns))
        sizes = [
            abs(found.excess)
            for z in range(*spot.slices.indices(len(kept)))
            for found in by_slice[z]
            if np.hypot(found.index_zyx[1] - row, found.index_zyx[2] - column) <= SPOT_REACH_PX
        ]
        yield spot.kind, (bool(sizes), any(size > StructureSettings().excess_fail for size in sizes))


def verdicts(checks: dict[str, list[StructureCheck]], title: str) -> Table:
    """Return the verdicts in percent of the volumes, and the range of the measures."""
    table = Table("", "volumes", "pass, %", "review, %", "fail, %", "edges", "excess, sd", "coherence", title=title)
    for name, group in checks.items():
        count = Counter(check.verdict for check in group)
        edges = [check.edges for check in group if check.edges is not None]
        table.add_row(
            name,
            str(len(group)),
            *(f"{100 * count[verdict] / len(group):.0f}" for verdict in ("pass", "review", "fail")),
            span(edges), span([check.excess for check in group]), span([check.coherence for check in group]),
        )  # fmt: skip
    return table


def span(values: Sequence[float]) -> str:
    """Return the range from the smallest to the largest value."""
    return f"{min(values):.3g}..{max(values):.3g}" if values else "-"


if __name__ == "__main__":
    main()
