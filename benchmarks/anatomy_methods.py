# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The methods that anatomy.py compares: the settings of the peers, and what our presets report."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from peers import PRESETS, Job, load_bm4d, nlm, tv
from run import estimate_sigma
from scipy import ndimage
from textured_noise import measured_power
from trial import Trial

import nsn2n
from nsn2n.noise.level import measure_noise
from nsn2n.noise.rician import without_bias

__all__ = ["GRIDS", "KNOWN", "denoised", "told_sigma", "tuned"]

Volume = NDArray[np.float32]
Settings = dict[str, float]

GRIDS: dict[str, tuple[Settings, ...]] = {
    "gaussian": tuple({"px": px} for px in (0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0)),
    "nlm": tuple(
        {"h": h, "known": known} for h, known in product((0.3, 0.5, 0.7, 0.9, 1.2, 1.6, 2.2, 3.0), (0.0, 1.0))
    ),
    "tv": tuple({"weight": weight} for weight in (0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)),
}
"""Settings that --tune tries."""
TUNED: dict[str, dict[str, Settings]] = {
    "ct-brain-5mm-4": {"gaussian": {"px": 2.0}, "nlm": {"h": 1.2, "known": 1.0}, "tv": {"weight": 0.5}},
    "ct-brain-5mm-8": {"gaussian": {"px": 3.0}, "nlm": {"h": 1.6, "known": 1.0}, "tv": {"weight": 0.75}},
    "ct-brain-1mm-10": {"gaussian": {"px": 3.0}, "nlm": {"h": 1.6, "known": 1.0}, "tv": {"weight": 1.0}},
    "ct-brain-1mm-20": {"gaussian": {"px": 4.0}, "nlm": {"h": 3.0, "known": 0.0}, "tv": {"weight": 1.0}},
    "ct-brain-overlap-10": {"gaussian": {"px": 3.0}, "nlm": {"h": 3.0, "known": 1.0}, "tv": {"weight": 1.5}},
    "ct-head": {"gaussian": {"px": 1.0}, "nlm": {"h": 0.7, "known": 0.0}, "tv": {"weight": 0.35}},
    "ct-abdomen": {"gaussian": {"px": 1.6}, "nlm": {"h": 1.2, "known": 1.0}, "tv": {"weight": 0.75}},
    "ct-chest": {"gaussian": {"px": 1.6}, "nlm": {"h": 1.2, "known": 1.0}, "tv": {"weight": 0.75}},
    "mr-thick-clean": {"gaussian": {"px": 0.3}, "nlm": {"h": 0.3, "known": 0.0}, "tv": {"weight": 0.1}},
    "mr-thick-3": {"gaussian": {"px": 0.5}, "nlm": {"h": 0.9, "known": 0.0}, "tv": {"weight": 0.2}},
    "mr-thick-9": {"gaussian": {"px": 1.0}, "nlm": {"h": 0.5, "known": 1.0}, "tv": {"weight": 0.5}},
    "mr-air-5": {"gaussian": {"px": 0.5}, "nlm": {"h": 0.7, "known": 1.0}, "tv": {"weight": 0.35}},
    "mr-zero-filled-5": {"gaussian": {"px": 0.7}, "nlm": {"h": 1.6, "known": 0.0}, "tv": {"weight": 0.75}},
    "ct-faint-20": {"gaussian": {"px": 4.0}, "nlm": {"h": 3.0, "known": 1.0}, "tv": {"weight": 1.0}},
    "pet": {"gaussian": {"px": 2.0}, "nlm": {"h": 2.2, "known": 1.0}, "tv": {"weight": 2.0}},
}
"""Settings with least rmse: ``anatomy.py --tune --seeds 0 --slices 8 --crop 224`` (ct-faint-20: ``--slices 4``)."""
SPECTRUM_SD = 3.0
SOFT_HU = (-200.0, 200.0)
KNOWN = ("default", "smooth", "fast", "gaussian", "nlm", "tv", "bm4d", "bm4d-known")


def tuned(trial: Trial, method: str) -> Settings:
    """Return the tuned settings of a peer for a case."""
    return TUNED[trial.tuned_as or trial.name][method]


def denoised(trial: Trial, method: str, seed: int, settings: Settings | None = None) -> tuple[list[Volume], str]:
    """Return the volumes of a trial denoised by a method, and what it reports about the first of them."""
    if method in PRESETS:
        results = [_ours(trial, noisy, method, seed) for noisy in trial.noisy]
        return [volume for volume, _ in results], results[0][1]
    volumes = []
    for noisy, truth in zip(trial.noisy, trial.truth, strict=True):
        run = _peer(method, settings or ({} if "bm4d" in method else tuned(trial, method)), noisy - truth)
        sigma = told_sigma(noisy, trial.modality)
        job = Job(noisy=noisy, sigma=sigma, spacing_mm=trial.spacing_mm, modality=trial.modality, seed=seed, steps=0)
        result = np.asarray(run(job), dtype=np.float32)
        volumes.append(_without_rician_mean(result, sigma) if trial.modality == "MR" else result)
    return volumes, ""


def told_sigma(noisy: Volume, modality: str) -> float:
    """Return the noise sd that peers are given: in CT the median of what nsn2n measures in soft tissue."""
    soft = ndimage.gaussian_filter(noisy, (0, 2, 2))
    found = measure_noise(noisy).sd[(soft > SOFT_HU[0]) & (soft < SOFT_HU[1])] if modality == "CT" else np.empty(0)
    found = found[found > 0]
    return float(np.median(found)) if found.size else estimate_sigma(noisy)


def _ours(trial: Trial, noisy: Volume, preset: str, seed: int) -> tuple[Volume, str]:
    facts: dict[str, Any] = {"seed": seed, "modality": trial.modality, "spacing_mm": trial.spacing_mm, "device": "cpu"}
    result = nsn2n.denoise(noisy, preset=preset, **facts)
    measured, volume = result.measured, result.volume
    if trial.modality == "MR" and not measured.rician_bias_taken:
        volume = _without_rician_mean(volume, measured.noise_sd_median)
    lost = "-" if measured.detail_lost is None else f"{100 * measured.detail_lost:.0f} %"
    discs = "-" if result.structure.contrast is None else f"{100 * result.structure.contrast:.0f} %"
    left = "-" if measured.noise_left is None else f"{100 * measured.noise_left:.0f} %"
    return volume, f"{lost}, {discs}, {left}, {result.structure.verdict}"


def _without_rician_mean(volume: Volume, sigma: float) -> Volume:
    sd_hw = np.full(volume.shape[1:], sigma, np.float32)
    return np.stack([without_bias(image, sd_hw, sd_hw) for image in volume])


def _peer(method: str, settings: Settings, noise: Volume) -> Callable[[Job], Volume]:
    if method == "gaussian":
        return lambda job: np.asarray(ndimage.gaussian_filter(job.noisy, (0, settings["px"], settings["px"])))
    if method in ("nlm", "tv"):
        return {"nlm": nlm, "tv": tv}[method](settings)
    return _bm4d(noise if method == "bm4d-known" else None, settings.get("sigmas", 1.0))


def _bm4d(noise: Volume | None, sigmas: float) -> Callable[[Job], Volume]:
    """Return BM4D, given sd and spectrum of the noise as measured by nsn2n, or those of the added noise."""
    filter_volume = load_bm4d()

    def run(job: Job) -> Volume:
        if noise is None:
            power = measured_power(job.noisy) * job.sigma**2
        else:
            powers = np.square(np.abs(np.fft.fft2(noise))).mean(axis=0) / noise[0].size
            power = ndimage.gaussian_filter(powers, SPECTRUM_SD, mode="wrap")
        power = sigmas**2 * power
        power_dhw = np.broadcast_to(power * job.noisy.size, job.noisy.shape).copy()
        return np.asarray(filter_volume(job.noisy.astype(np.float64), power_dhw), dtype=np.float32)

    return run
