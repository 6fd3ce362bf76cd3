# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The compared methods: our presets, and peers from their own packages, which ``make bench-peers`` installs.

Each function imports its package and returns a function that denoises one volume, so that import time is not
counted. Settings that differ from the package's defaults were chosen on the half of the cases for tuning (tune.py).
This module needs only numpy: a peer may run in an environment without our other packages.
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
    """Noise sd estimated from the volume; the same for all methods that need one."""
    spacing_mm: tuple[float, float, float]
    modality: str
    seed: int
    steps: int
    """Optimizer steps of CAREamics."""
    budget_s: float | None = None
    """Seconds for the fits of our presets; None: no limit."""


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
    from nsn2n import denoise  # Loads PyTorch here, as the other methods load their packages.

    def run(job: Job) -> Volume:
        facts: dict[str, Any] = {"seed": job.seed, "modality": job.modality, "spacing_mm": job.spacing_mm}
        config = {"budget_s": job.budget_s}
        return denoise(job.noisy, preset=name, device="cpu", config=config, **facts).volume

    return run


def identity() -> Run:
    """Return the input unchanged; measures the overhead of a process."""
    return lambda job: job.noisy.copy()


NLM_PATCHES = {"patch_size": 5, "patch_distance": 6}


def nlm(settings: Settings | None = None) -> Run:
    """Return slice-by-slice non-local means; h and its noise sd are in units of sigma.

    Three-dimensional patches are no better on the half for tuning, and several times slower.
    """
    from skimage.restoration import denoise_nl_means

    def run(job: Job) -> Volume:
        chosen = settings or TUNED["nlm"][job.modality]
        strength = {"h": chosen["h"] * job.sigma, "sigma": chosen["known"] * job.sigma, "fast_mode": True}
        return np.stack([denoise_nl_means(slice_hw, **NLM_PATCHES, **strength) for slice_hw in job.noisy])

    return run


TV_EPS = 1e-5
"""The default, 2e-4, stops early if the range is many times the noise; results then jump as the weight changes."""


def tv(settings: Settings | None = None) -> Run:
    """Return total variation (Chambolle) in three dimensions, with the weight in units of sigma."""
    from skimage.restoration import denoise_tv_chambolle

    def run(job: Job) -> Volume:
        weight = (settings or TUNED["tv"][job.modality])["weight"]
        return denoise_tv_chambolle(job.noisy / job.sigma, weight=weight, eps=TV_EPS) * np.float32(job.sigma)

    return run


def load_bm4d() -> Callable[[NDArray[np.float64], float | NDArray[np.float64]], NDArray[np.float64]]:
    """Return the package's function, which takes a volume and its noise."""
    from bm4d import bm4d as filter_volume

    if not hasattr(np, "trapz"):
        np.trapz = np.trapezoid  # NumPy 2.4 removed the old name, which bm4d 4.2 calls
    return filter_volume


def bm4d(settings: Settings | None = None) -> Run:
    """Return BM4D with the noise's spectrum, white in MR; its noise sd is in units of sigma."""
    filter_volume = load_bm4d()

    def run(job: Job) -> Volume:
        sigma = (settings or TUNED["bm4d"][job.modality])["sigmas"] * job.sigma
        noise = sigma if job.modality == "MR" else noise_spectrum(job.noisy, sigma)
        return np.asarray(filter_volume(job.noisy.astype(np.float64), noise), dtype=np.float32)

    return run


SPECTRUM_PX = 32


def noise_spectrum(volume_dhw: Volume, sigma: float) -> NDArray[np.float64]:
    """Return the mean |DFT|^2 of noise of sd ``sigma``, shape (D, H, W): white across slices, measured in the plane.

    Measured on differences of neighboring slices in squares, as the median over squares, since few contain structure.
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
    """Return ANTs' DenoiseImage (adaptive non-local means), which estimates the noise itself."""
    import ants as package

    def run(job: Job) -> Volume:
        image = package.from_numpy(job.noisy, spacing=job.spacing_mm)
        model = "Rician" if job.modality == "MR" else "Gaussian"
        return np.asarray(package.denoise_image(image, noise_model=model).numpy(), dtype=np.float32)

    return run


def curvature_flow(settings: Settings | None = None) -> Run:
    """Return SimpleITK's curvature flow in three dimensions, with the time step that its documentation gives for 3D."""
    import SimpleITK as sitk  # noqa: N813 - as in its documentation

    def run(job: Job) -> Volume:
        iterations = int((settings or TUNED["curvature-flow"][job.modality])["iterations"])
        image = sitk.GetImageFromArray(job.noisy)
        return sitk.GetArrayFromImage(sitk.CurvatureFlow(image, timeStep=0.0625, numberOfIterations=iterations))

    return run


CAREAMICS_PATCH_PX, CAREAMICS_BATCH = 64, 16
CAREAMICS_EPOCHS = 30
"""The default; each epoch covers the volume once, unless the number of steps is limited."""


def careamics(algorithm: str) -> Run:
    """Return CAREamics with its defaults, except for a limit on the number of steps, slice by slice.

    ``n2v``: Noise2Void on the slices. ``n2n``: Noise2Noise with the neighboring slice as target, in both directions.
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
            seed=job.seed + 1,  # 0 is rejected
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
"""Name, distribution that provides it, and function that makes it."""

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
