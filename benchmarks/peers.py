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

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "PACKAGES", "PEERS", "PRESETS", "Job"]

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


Run = Callable[[Job], Volume]
Settings = dict[str, float]

TUNED: dict[str, dict[str, Settings]] = {
    "nlm": {"MR": {"h": 0.6, "known": 1.0}, "CT": {"h": 1.2, "known": 1.0}},
    "nlm-3d": {"MR": {"h": 0.6, "known": 1.0}, "CT": {"h": 1.2, "known": 1.0}},
    "tv": {"MR": {"weight": 0.5}, "CT": {"weight": 1.0}},
    "bm4d": {"MR": {"sigmas": 1.0}, "CT": {"sigmas": 1.0}},
    "curvature-flow": {"MR": {"iterations": 5}, "CT": {"iterations": 10}},
}
"""Chosen by tune.py for each modality; the other methods have none."""


def nsn2n_preset(name: str) -> Run:
    import nsn2n

    def run(job: Job) -> Volume:
        result = nsn2n.denoise(
            job.noisy, preset=name, seed=job.seed, modality=job.modality, spacing_mm=job.spacing_mm, device="cpu"
        )
        return result.volume

    return run


def identity() -> Run:
    """Changes nothing: what a process costs by itself."""
    return lambda job: job.noisy.copy()


NLM_2D = {"patch_size": 5, "patch_distance": 6}
NLM_3D = {"patch_size": 3, "patch_distance": 3}


def nlm(dimensions: int, settings: Settings | None = None) -> Run:
    """Non-local means, slice by slice or in three dimensions; h and the noise that it is told in units of sigma."""
    from skimage.restoration import denoise_nl_means

    def run(job: Job) -> Volume:
        chosen = settings or TUNED["nlm" if dimensions == 2 else "nlm-3d"][job.modality]
        strength = {"h": chosen["h"] * job.sigma, "sigma": chosen["known"] * job.sigma, "fast_mode": True}
        if dimensions == 3:
            return np.asarray(denoise_nl_means(job.noisy, **NLM_3D, **strength), dtype=np.float32)
        return np.stack([denoise_nl_means(slice_hw, **NLM_2D, **strength) for slice_hw in job.noisy])

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


def bm4d(settings: Settings | None = None) -> Run:
    """BM4D for white noise; the sd that it is told in units of sigma, since noise of CT is not white."""
    from bm4d import bm4d as filter_volume

    def run(job: Job) -> Volume:
        sigmas = (settings or TUNED["bm4d"][job.modality])["sigmas"]
        return np.asarray(filter_volume(job.noisy, sigmas * job.sigma), dtype=np.float32)

    return run


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


PRESETS = ("default", "fast", "paper")
PEERS: dict[str, tuple[str, Callable[[], Run]]] = {
    "nlm": ("scikit-image", partial(nlm, 2)),
    "nlm-3d": ("scikit-image", partial(nlm, 3)),
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
