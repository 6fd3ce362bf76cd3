# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The demonstration: a synthetic low-dose CT series through the application, compared with the known truth."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from matplotlib.figure import Figure
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from nsn2n._aliases import Float32Array
from nsn2n.dicom.read.series_reader import SeriesVolume, read_series
from nsn2n.dicom.selection.scan import scan_folder
from nsn2n.errors import NSN2NError
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.synthetic.dicom_series import write_synthetic_series
from nsn2n.synthetic.phantom import PhantomStudy, make_phantom

__all__ = ["DemoResult", "Quality", "compare", "run_demo"]

logger = logging.getLogger(__name__)


WINDOW_HU = (-160.0, 240.0)
"""Soft tissue window (center 40, width 400): PSNR and SSIM are computed on values clipped to it."""

DIFFERENCE_HU = 100.0
"""Differences are displayed from minus to plus this value."""

SETTINGS_FILE = "nsn2n-demo.yaml"
"""Settings of the application for the demonstration; also marks the folder of an earlier demonstration."""

INPUT, DENOISED, PICTURE = "input", "denoised", "demo.png"


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A volume compared with the truth."""

    noise_sd_hu: float
    """Standard deviation of the difference to the truth in homogeneous soft tissue, HU."""
    psnr_db: float
    """Peak signal-to-noise ratio in the window; its peak is the window's width."""
    ssim: float
    """Structural similarity in the window, mean over the slices."""


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """Results of the demonstration."""

    shape_dhw: tuple[int, int, int]
    before: Quality
    after: Quality
    seconds: float
    """Run time of the application, from start to exit."""
    peak_memory_mib: float
    """Peak resident set size of the application's process."""
    picture: Path

    def __str__(self) -> str:
        """Return the result as a plain-text table."""
        low, high = (round(limit) for limit in WINDOW_HU)
        before, after = self.before, self.after
        rows = [
            ("", "before", "after"),
            ("noise sd in soft tissue, HU", f"{before.noise_sd_hu:.1f}", f"{after.noise_sd_hu:.1f}"),
            (f"PSNR in {low}..{high} HU, dB", f"{before.psnr_db:.1f}", f"{after.psnr_db:.1f}"),
            (f"SSIM in {low}..{high} HU", f"{before.ssim:.3f}", f"{after.ssim:.3f}"),
        ]
        return "\n".join(
            [
                *(f"{name:<32}{first:>8}{second:>8}" for name, first, second in rows),
                "",
                f"application: {self.seconds:.0f} s and {self.peak_memory_mib:.0f} MiB of memory for "
                f"{' x '.join(map(str, self.shape_dhw))} voxels",
                f"picture: {self.picture}",
            ]
        )


def run_demo(
    output: Path | str,
    *,
    seed: int = 0,
    shape_dhw: tuple[int, int, int] = (24, 256, 256),
    config: Mapping[str, Any] | None = None,
) -> DemoResult:
    """Create a series, denoise it with the application in a separate process, and compare.

    Parameters
    ----------
    output : path
        Gets ``input`` and ``denoised`` (DICOM), ``demo.png``, and the settings of the application. Must be
        new, empty, or of an earlier demonstration, whose files are replaced.
    seed : int
        Seed of the phantom's noise and of the fit.
    shape_dhw : tuple of int
        Slices, rows, columns of the phantom.
    config : mapping, optional
        Settings of the method that differ from those of the preset ``default``.

    Raises
    ------
    NSN2NError
        If the folder holds something else, or the application fails.
    """
    folder = Path(output)
    _prepare(folder, seed, config)
    logger.info("creating a synthetic CT series of %d x %d x %d voxels at a quarter of the dose", *shape_dhw)
    phantom = make_phantom(shape_dhw, seed=seed)
    write_synthetic_series(
        phantom.noisy_dhw,
        folder / INPUT,
        spacing_mm=phantom.spacing_mm,
        series_description="Low-dose phantom",
        seed=f"demo {seed}",
    )
    seconds, peak_memory_mib = _run_application(folder, seed)
    before, after = _read(folder / INPUT), _read(folder / DENOISED)
    if after.geometry != before.geometry:
        raise NSN2NError(f"the denoised series must be on the grid of its source; {folder / DENOISED} is not.")
    _save_picture(folder / PICTURE, before.stack.values, after.stack.values, phantom)
    return DemoResult(
        shape_dhw=shape_dhw,
        before=compare(before.stack.values, phantom),
        after=compare(after.stack.values, phantom),
        seconds=seconds,
        peak_memory_mib=peak_memory_mib,
        picture=folder / PICTURE,
    )


def compare(volume_dhw: Float32Array, phantom: PhantomStudy) -> Quality:
    """Measure a volume, in HU, against the truth of a phantom."""
    low, high = WINDOW_HU
    truth, shown = (np.clip(volume, low, high) for volume in (phantom.truth_dhw, volume_dhw))
    error = (volume_dhw - phantom.truth_dhw)[phantom.soft_tissue_mask]
    ssim = [structural_similarity(*pair, data_range=high - low) for pair in zip(truth, shown, strict=True)]
    return Quality(
        noise_sd_hu=float(np.std(error, dtype=np.float64)),
        psnr_db=float(peak_signal_noise_ratio(truth, shown, data_range=high - low)),
        ssim=float(np.mean(ssim)),
    )


def _prepare(folder: Path, seed: int, config: Mapping[str, Any] | None) -> None:
    """Create the folder, or clear that of an earlier demonstration; nothing else is ever removed."""
    require_writable_folder(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not (folder / SETTINGS_FILE).is_file():
        raise NSN2NError(
            f"the folder of the demonstration must be empty, or hold an earlier one; {folder} holds something else. "
            "Name another one with --output."
        )
    for name in (INPUT, DENOISED):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    (folder / PICTURE).unlink(missing_ok=True)
    settings = {"nsn2n": {"seed": seed, "viewer": True, "config": dict(config or {})}}
    (folder / SETTINGS_FILE).write_text(yaml.safe_dump(settings), encoding="utf-8")


def _run_application(folder: Path, seed: int) -> tuple[float, float]:
    """Run the application as a user does; return its run time in seconds and its peak memory in MiB."""
    source, target, settings = folder / INPUT, folder / DENOISED, (folder / SETTINGS_FILE).absolute()
    if find_spec("holoscan") is not None:
        arguments = ["nsn2n.app", "-i", str(source), "-o", str(target)]
    else:  # installed without the extra app
        arguments = ["nsn2n", "denoise", str(source), str(target), "--seed", str(seed)]
    command = [sys.executable, "-m", *arguments]
    environment = {**os.environ, "HOLOSCAN_CONFIG_PATH": str(settings)}
    logger.info("python -m %s", " ".join(arguments))
    started = time.monotonic()
    with subprocess.Popen(command, env=environment) as process:
        # Unlike RUSAGE_CHILDREN this is for this one process, whatever ran before.
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - started
    if process.returncode != 0:
        raise NSN2NError(
            f"the application must end with exit code 0; got {process.returncode}. See its messages for the reason."
        )
    return seconds, usage.ru_maxrss / 1024


def _read(folder: Path) -> SeriesVolume:
    (record,) = scan_folder(folder).series
    return read_series(record.files, allow_own_output=True)


def _save_picture(file: Path, before_dhw: Float32Array, after_dhw: Float32Array, phantom: PhantomStudy) -> None:
    """Draw the middle slice: before, after, what was removed, and the truth."""
    middle = len(before_dhw) // 2
    before, after, truth = (volume[middle] for volume in (before_dhw, after_dhw, phantom.truth_dhw))
    window = f"{WINDOW_HU[0]:.0f}..{WINDOW_HU[1]:.0f} HU"
    panels = [
        ("before", before, WINDOW_HU, window),
        ("after", after, WINDOW_HU, window),
        ("difference, before - after", before - after, (-DIFFERENCE_HU, DIFFERENCE_HU), f"±{DIFFERENCE_HU:.0f} HU"),
        ("truth", truth, WINDOW_HU, window),
    ]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    for axes, (title, image, (low, high), scale) in zip(figure.subplots(1, 4), panels, strict=True):
        axes.imshow(image, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set_title(title)
        axes.set_xlabel(scale)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.savefig(file, dpi=85)
