# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The methods that are compared: our presets, and peers from their own packages, which ``make bench-peers`` installs.

Each function imports its package and gives back what denoises one volume, so that the time of an import is not
counted. Settings that are not the package's defaults were chosen on the half of the cases that is for tuning
(tune.py). This module needs numpy only: a peer may run in an environment that has nothing else of ours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "PACKAGES", "PEERS", "PRESETS", "Job", "load_bm4d"]

Volume = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One volume to denoise and what a user would know about it."""

    noisy: Volume
    """Shape (D, H, W)."""
    sigma: float
    """Noise sd as estimated from the volume; the same for all methods that want one."""
    spacing_mm: tuple[float, float, float]
    modality: str
    seed: int
    steps: int
    """Optimizer steps of CAREamics."""
    budget_s: float | None = None
    """Of the fits of our presets; no limit unless given."""


Run = Callable[[Job], Volume]
Settings = dict[str, float]

TUNED: dict[str, dict[str, Settings]] = {
    "nlm": {"MR": {"h": 0.6, "known": 1.0}, "CT": {"h": 2.5, "known": 1.0}},
    "tv": {"MR": {"weight": 0.35}, "CT": {"weight": 2.0}},
    "bm4d": {"MR": {"sigmas": 1.0}, "CT": {"sigmas": 1.7}},
    "curvature-flow": {"MR": {"iterations": 5}, "CT": {"iterations": 20}},
}
"""Chosen by tune.py for each modality (bm4d in CT on a block of 12 x 128 x 128 of its case); the others have none."""


def nsn2n_preset(name: str) -> Run:
    from nsn2n import denoise  # Loads PyTorch here, as the other methods load what they need.

    def run(job: Job) -> Volume:
        facts: dict[str, Any] = {"seed": job.seed, "modality": job.modality, "spacing_mm": job.spacing_mm}
        config = {"budget_s": job.budget_s}
        return denoise(job.noisy, preset=name, device="cpu", config=config, **facts).volume

    return run


def identity() -> Run:
    """Changes nothing: what a process costs by itself."""
    return lambda job: job.noisy.copy()


NLM_PATCHES = {"patch_size": 5, "patch_distance": 6}


def nlm(settings: Settings | None = None) -> Run:
    """Non-local means slice by slice; h and the noise that it is given, in units of sigma.

    With patches in three dimensions it is no better on the half for tuning, and several times slower.
    """
    from skimage.restoration import denoise_nl_means

    def run(job: Job) -> Volume:
        chosen = settings or TUNED["nlm"][job.modality]
        strength = {"h": chosen["h"] * job.sigma, "sigma": chosen["known"] * job.sigma, "fast_mode": True}
        return np.stack([denoise_nl_means(slice_hw, **NLM_PATCHES, **strength) for slice_hw in job.noisy])

    return run


TV_EPS = 1e-5
"""The default, 2e-4, ends early where the range is many times the noise, and then results jump with the weight."""


def tv(settings: Settings | None = None) -> Run:
    """Total variation (Chambolle) in three dimensions, the weight in units of sigma."""
    from skimage.restoration import denoise_tv_chambolle

    def run(job: Job) -> Volume:
        weight = (settings or TUNED["tv"][job.modality])["weight"]
        return denoise_tv_chambolle(job.noisy / job.sigma, weight=weight, eps=TV_EPS) * np.float32(job.sigma)

    return run


def load_bm4d() -> Callable[[NDArray[np.float64], float | NDArray[np.float64]], NDArray[np.float64]]:
    """Return the package's function of a volume and its noise."""
    from bm4d import bm4d as filter_volume

    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # NumPy 2.4 took away the old name, which bm4d 4.2 calls
    return filter_volume


def bm4d(settings: Settings | None = None) -> Run:
    """BM4D with the noise's spectrum, white in MR; the sd that it is given, in units of sigma."""
    filter_volume = load_bm4d()

    def run(job: Job) -> Volume:
        sigma = (settings or TUNED["bm4d"][job.modality])["sigmas"] * job.sigma
        noise = sigma if job.modality == "MR" else noise_spectrum(job.noisy, sigma)
        return np.asarray(filter_volume(job.noisy.astype(np.float64), noise), dtype=np.float32)

    return run


SPECTRUM_PX = 32


def noise_spectrum(volume_dhw: Volume, sigma: float) -> NDArray[np.float64]:
    """Mean |DFT|^2 of noise of sd ``sigma``, shape (D, H, W): white across slices, in the plane as it is found.

    From differences of neighboring slices in squares; of all squares the median, since structure is in few of them.
    """
    from scipy import ndimage

    height, width = volume_dhw.shape[1:]
    window = np.outer(np.hanning(SPECTRUM_PX), np.hanning(SPECTRUM_PX))
    powers = []
    for difference in np.diff(volume_dhw.astype(np.float64), axis=0):
        rows, columns = height // SPECTRUM_PX, width // SPECTRUM_PX
        cut = difference[: rows * SPECTRUM_PX, : columns * SPECTRUM_PX]
        squares = cut.reshape(rows, SPECTRUM_PX, columns, SPECTRUM_PX).swapaxes(1, 2).reshape(-1, *window.shape)
        powers.append(np.square(np.abs(np.fft.fft2(squares * window))))
    power = np.median(np.concatenate(powers), axis=0)
    at_rows, at_columns = (np.fft.fftfreq(size) * SPECTRUM_PX for size in (height, width))
    grid = np.meshgrid(at_rows, at_columns, indexing="ij")
    in_plane = ndimage.map_coordinates(power, grid, order=1, mode="grid-wrap")
    return np.broadcast_to(in_plane * (sigma**2 * volume_dhw.size / in_plane.mean()), volume_dhw.shape).copy()


def ants() -> Run:
    """ANTs' DenoiseImage (adaptive non-local means), which estimates the noise by itself."""
    import ants as package

    def run(job: Job) -> Volume:
        image = package.from_numpy(job.noisy, spacing=job.spacing_mm)
        model = "Rician" if job.modality == "MR" else "Gaussian"
        return np.asarray(package.denoise_image(image, noise_model=model).numpy(), dtype=np.float32)

    return run


def curvature_flow(settings: Settings | None = None) -> Run:
    """SimpleITK's curvature flow in three dimensions, with the time step that its documentation gives for them."""
    import SimpleITK as sitk  # noqa: N813 - as its documentation has it

    def run(job: Job) -> Volume:
        iterations = int((settings or TUNED["curvature-flow"][job.modality])["iterations"])
        image = sitk.GetImageFromArray(job.noisy)
        return sitk.GetArrayFromImage(sitk.CurvatureFlow(image, timeStep=0.0625, numberOfIterations=iterations))

    return run


CAREAMICS_PATCH_PX, CAREAMICS_BATCH = 64, 16
CAREAMICS_EPOCHS = 30
"""Its default; it goes through the volume once in each, unless the number of steps is bounded."""


def careamics(algorithm: str) -> Run:
    """CAREamics with its defaults, but for a bound on the number of steps, slice by slice.

    ``n2v``: Noise2Void on the slices. ``n2n``: Noise2Noise, the target of a slice is its neighbor, in both directions.
    """
    from careamics import CAREamist
    from careamics.config.factories import create_advanced_n2n_config, create_advanced_n2v_config

    create = create_advanced_n2v_config if algorithm == "n2v" else create_advanced_n2n_config

    def run(job: Job) -> Volume:
        epochs = min(CAREAMICS_EPOCHS, job.steps)
        config = create(
            experiment_name=algorithm,
            data_type="array",
            axes="SYX",
            patch_size=[CAREAMICS_PATCH_PX] * 2,
            batch_size=CAREAMICS_BATCH,
            num_epochs=epochs,
            num_steps=-(-job.steps // epochs),
            num_workers=0,
            seed=job.seed + 1,  # 0 is refused
        )
        with tempfile.TemporaryDirectory() as folder:
            network = CAREamist(config, work_dir=folder)
            if algorithm == "n2v":
                network.train(train_data=job.noisy)
            else:
                first, second = job.noisy[:-1], job.noisy[1:]
                network.train(
                    train_data=np.concatenate([first, second]), train_data_target=np.concatenate([second, first])
                )
            predicted, _ = network.predict(job.noisy, batch_size=1)
        return np.asarray(predicted, dtype=np.float32).reshape(job.noisy.shape)

    return run


PRESETS = ("default", "smooth", "fast", "paper")
PEERS: dict[str, tuple[str, Callable[[], Run]]] = {
    "nlm": ("scikit-image", nlm),
    "tv": ("scikit-image", tv),
    "bm4d": ("bm4d", bm4d),
    "ants": ("antspyx", ants),
    "curvature-flow": ("SimpleITK", curvature_flow),
    "n2v": ("careamics", partial(careamics, "n2v")),
    "n2n-slices": ("careamics", partial(careamics, "n2n")),
}
"""Name, distribution that it comes from, and what makes it."""

METHODS: dict[str, Callable[[], Run]] = {
    "identity": identity,
    **{name: partial(nsn2n_preset, name) for name in PRESETS},
    **{name: make for name, (_, make) in PEERS.items()},
}
PACKAGES = {
    "identity": "",
    **dict.fromkeys(PRESETS, "nsn2n"),
    **{name: package for name, (package, _) in PEERS.items()},
}
