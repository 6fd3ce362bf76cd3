# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Time of each stage on a GPU, and agreement of the result with that of the CPU: ``make bench-gpu``.

    python benchmarks/gpu.py [--shape 300 512 512] [--modalities CT MR] [--device cuda] [--profiled 32] [--compared 24]

The volume is the abdomen of ``ct-body``, repeated back and forth, with noise of 20 HU; MR is the magnitude of the same
volume. Prints the seconds of each stage in the first and in the second call of `nsn2n.denoise`; for a shorter volume
under the profiler, how long the GPU was busy, how many kernels were launched, what was copied between host and GPU
memory, and the fraction of the memory bandwidth that the minimum traffic of the stage amounts to (each voxel read
twice and written once); and the difference in quality between CPU and GPU on a small volume.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from body import make_abdomen
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy import ndimage
from textured_noise import kernel_noise

import nsn2n
from nsn2n import pipeline
from nsn2n.stages.state import Stage

Volume = NDArray[np.float32]
SPACING_MM = (5.0, 0.7, 0.7)
NOISE_HU, TISSUE_HU = 20.0, (-160.0, 240.0)
COPIED_BYTES = 2**30
SLICES_OF_NOISE = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=[300, 512, 512])
    parser.add_argument("--modalities", nargs="+", default=["CT", "MR"], choices=["CT", "MR", "PT"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--profiled", type=int, default=32, help="slices under the profiler; 0: none")
    parser.add_argument("--compared", type=int, default=24, help="slices compared with the CPU; 0: none")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("PyTorch finds no GPU that it can use. Run it where there is one, or with --device cpu.")
    record: dict[str, Any] = {}
    for modality in options.modalities:
        record[modality] = of_modality(modality, options)
    if options.json is not None:
        options.json.write_text(json.dumps(record, indent=1))


def of_modality(modality: str, options: argparse.Namespace) -> dict[str, Any]:
    """Print the tables of one modality, and return their contents."""
    truth, noisy = make_volume(options.shape, modality, options.seed)
    on_gpu = options.device == "cuda"
    name = torch.cuda.get_device_name() if on_gpu else "CPU"
    title = (
        f"{modality}, {' x '.join(map(str, options.shape))}, seed {options.seed}, {name}, PyTorch {torch.__version__}"
    )
    calls = []
    digests = set()
    for _ in range(2):
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()
        run = timed(noisy, modality, options.device)
        calls.append(run)
        digests.add(hashlib.sha256(run.volume.tobytes()).hexdigest())
    peak_gib = torch.cuda.max_memory_allocated() / 2**30 if on_gpu else 0.0
    profiled = under_profiler(noisy[: options.profiled], modality) if on_gpu and options.profiled else {}
    bandwidth = copy_bandwidth() if profiled else 0.0
    table = Table("stage", "first, s", "second, s", title=title)
    for heading in ("busy", "kernels", "to GPU, MB", "to host, MB", "of bandwidth") if profiled else ():
        table.add_column(heading)
    least = 3 * 4 * noisy[: options.profiled].size
    for stage, seconds in calls[0].seconds.items():
        cells = [stage, f"{seconds:.2f}", f"{calls[1].seconds.get(stage, 0.0):.2f}"]
        if profiled:
            found = profiled.get(stage, Profiled())
            share = least / found.busy / bandwidth if found.busy else 0.0
            cells += [
                f"{100 * found.busy / found.seconds:.0f} %" if found.seconds else "-", str(found.kernels),
                f"{found.to_gpu / 1e6:.0f}", f"{found.to_host / 1e6:.0f}", f"{100 * share:.1f} %",
            ]  # fmt: skip
        table.add_row(*cells)
    Console(width=140).print(table)
    print(
        f"peak of GPU memory {peak_gib:.1f} GiB, same bytes twice: {'yes' if len(digests) == 1 else 'NO'}; "
        f"{quality(truth, noisy, modality):.2f} dB before, {quality(truth, calls[1].volume, modality):.2f} dB after"
    )
    record: dict[str, Any] = {"title": title, "calls": [run.seconds for run in calls], "peak_gib": peak_gib}
    record["profiled"] = {stage: vars(found) for stage, found in profiled.items()}
    if options.compared and on_gpu:
        small_truth, small = make_volume([options.compared, 256, 256], modality, options.seed)
        found = [timed(small, modality, device) for device in ("cuda", "cuda", "cpu")]
        dbs = [quality(small_truth, run.volume, modality) for run in found]
        print(
            f"{options.compared} x 256 x 256: {found[1].seconds['all']:.2f} s on the GPU, "
            f"{found[2].seconds['all']:.2f} s on the CPU; {dbs[1]:.3f} and {dbs[2]:.3f} dB"
        )
        record["compared"] = {"seconds": [run.seconds for run in found], "db": dbs}
    return record


def make_volume(shape: Sequence[int], modality: str, seed: int) -> tuple[Volume, Volume]:
    """Return truth and noisy volume, shape (D, H, W)."""
    body = abdomen(seed)
    larger = [
        ndimage.zoom(slice_hw, (shape[1] / body.shape[1], shape[2] / body.shape[2]), order=1) for slice_hw in body
    ]
    there_and_back = [*range(len(larger)), *range(len(larger) - 2, 0, -1)]
    truth = np.stack([larger[index] for index in np.resize(there_and_back, shape[0])]).astype(np.float32)
    noise = noise_of(truth.shape, seed)
    if modality == "CT":
        return truth, np.rint(truth + noise)
    signal = truth + 1024
    if modality == "PT":
        return signal, np.maximum(signal + noise * np.sqrt(np.maximum(signal, 1) / 1024), 0)
    other = noise_of(truth.shape, seed + 1000)
    return signal, np.hypot(signal + noise, other)


def noise_of(shape: tuple[int, ...], seed: int) -> Volume:
    """Return noise that repeats after some slices, since making it takes long."""
    depth, height, width = shape
    found = kernel_noise((min(depth, SLICES_OF_NOISE), height, width), NOISE_HU, seed)
    return found[np.arange(depth) % len(found)]


@lru_cache
def abdomen(seed: int) -> Volume:
    """Return twelve slices of 256 x 256."""
    return make_abdomen(12, seed).truth


def quality(truth: Volume, volume: Volume, modality: str) -> float:
    """Return PSNR in soft tissue, dB."""
    low, high = TISSUE_HU if modality == "CT" else (1024 + bound for bound in TISSUE_HU)
    tissue = (truth > low) & (truth < high)
    error = float(np.square(volume[tissue] - truth[tissue], dtype=np.float64).mean())
    return 10 * float(np.log10((high - low) ** 2 / error))


@dataclass(frozen=True)
class Run:
    """A denoised volume, and the seconds of each stage and in total."""

    volume: Volume
    seconds: dict[str, float]


def timed(noisy: Volume, modality: str, device: str) -> Run:
    """Denoise a volume and time each stage."""
    seconds: dict[str, float] = {}

    @contextmanager
    def measured(name: str) -> Iterator[None]:
        started = now()
        yield
        seconds[name] = seconds.get(name, 0.0) + now() - started

    def now() -> float:
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    return denoise(noisy, modality, device, measured, seconds)


def denoise(noisy: Volume, modality: str, device: str, around: Callable[..., Any], seconds: dict[str, float]) -> Run:
    """Denoise a volume with a context manager around each stage."""
    listed, measure = pipeline.stages, pipeline.measured_state

    def stages(*arguments: Any, **options: Any) -> list[Stage]:
        return [replace(stage, run=within(stage.name, stage.run)) for stage in listed(*arguments, **options)]

    def within(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
        def surrounded(*arguments: Any) -> Any:
            with around(name):
                return run(*arguments)

        return surrounded

    with (
        mock.patch.object(pipeline, "stages", stages),
        mock.patch.object(pipeline, "measured_state", within("noise and correlation", measure)),
        around("all"),
    ):
        result = nsn2n.denoise(noisy, modality=modality, spacing_mm=SPACING_MM, device=device, seed=0)
    return Run(result.volume, seconds)


@dataclass
class Profiled:
    """GPU activity during a stage."""

    seconds: float = 0.0
    busy: float = 0.0
    kernels: int = 0
    to_gpu: int = 0
    to_host: int = 0
    spans: list[tuple[int, int]] = field(default_factory=list)


def under_profiler(noisy: Volume, modality: str) -> dict[str, Profiled]:
    """Return the GPU activity of each stage, and in total, of a run on a volume that it has processed before."""
    found: dict[str, Profiled] = {}
    within: list[str] = []
    timed(noisy, modality, "cuda")

    @contextmanager
    def marked(name: str) -> Iterator[None]:
        torch.cuda.synchronize()
        start = time.time_ns()
        within.append(name)
        yield
        within.pop()
        torch.cuda.synchronize()
        found.setdefault(name, Profiled()).spans.append((start, time.time_ns()))

    to_host, to_gpu = torch.Tensor.cpu, torch.as_tensor

    def counted_to_host(values: torch.Tensor) -> torch.Tensor:
        for name in within:
            found.setdefault(name, Profiled()).to_host += values.nbytes if values.is_cuda else 0
        return to_host(values)

    def counted_to_gpu(values: Any, **options: Any) -> torch.Tensor:
        result = to_gpu(values, **options)
        for name in within:
            copied = result.is_cuda and not isinstance(values, torch.Tensor)
            found.setdefault(name, Profiled()).to_gpu += result.nbytes if copied else 0
        return result

    with (
        torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA], acc_events=True) as profile,
        mock.patch.object(torch.Tensor, "cpu", counted_to_host),
        mock.patch.object(torch, "as_tensor", counted_to_gpu),
    ):
        denoise(noisy, modality, "cuda", marked, {})
    events = [event for event in profile.profiler.kineto_results.events() if "CUDA" in str(event.device_type())]
    starts = np.array([event.start_ns() for event in events], np.int64)
    for stage in found.values():
        for start, end in stage.spans:
            stage.seconds += (end - start) / 1e9
            for index in np.flatnonzero((starts >= start) & (starts < end)):
                event = events[index]
                stage.kernels += not event.name().startswith(("Memcpy", "Memset", "Context", "cuda"))
                stage.busy += event.duration_ns() / 1e9
        stage.spans.clear()
    return found


def copy_bandwidth() -> float:
    """Return the bytes read and written per second by a copy within the GPU's memory."""
    source = torch.empty(COPIED_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    target.copy_(source)
    torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(10):
        target.copy_(source)
    torch.cuda.synchronize()
    return 10 * 2 * COPIED_BYTES / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
