# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the stages of the method on one volume."""

from __future__ import annotations

import logging
import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np

from nsn2n._aliases import Array, BoolArray, Float32Array, Progress, Spacing
from nsn2n.arrays.either import copied, double, on_device, total
from nsn2n.earlier_fits import EarlierFits
from nsn2n.filters.block_transform import BLOCK_PX
from nsn2n.filters.cubes import CUBE_PX
from nsn2n.modality import Modality, ModalityPolicy, policy_of
from nsn2n.noise.along_slices import SliceCorrelation
from nsn2n.noise.correlation import choose_partner, slice_correlation
from nsn2n.noise.level import NoiseMap, measure_noise
from nsn2n.noise.low_frequencies import falls_as_noise
from nsn2n.noise.spectrum import noise_level, noise_power, of_mean_1, without_anatomy
from nsn2n.runtime.compute import Compute, reproducible
from nsn2n.runtime.cpus import with_threads
from nsn2n.runtime.volumes import in_files
from nsn2n.settings import Settings
from nsn2n.stack.validation import fill_invalid
from nsn2n.stages import PipelineState, stages, stages_without_noise
from nsn2n.stages.clock import Clock
from nsn2n.training.pretrained import starts_from_bundle

__all__ = ["measured_state", "run_pipeline"]

logger = logging.getLogger(__name__)

_NO_NOISE = 1e-6
"""Noise below this fraction of the data range is rounding, not noise."""
_LEAST_LEVEL, _LARGEST_LEVEL = 0.25, 1.5
"""Noise in tissue without anatomy over that measured: a volume with nearly no noise keeps a level to divide by."""
_ABOVE_AIR = 100.0
"""HU; lungs count as tissue."""


def run_pipeline(
    noisy: Float32Array,
    valid: BoolArray | None,
    modality: Modality | None,
    settings: Settings,
    compute: Compute,
    *,
    spacing_mm: Spacing | None = None,
    earlier: EarlierFits | None = None,
    name: str = "",
    progress: Progress | None = None,
) -> PipelineState:
    """Denoise one volume, a single stack of aligned neighbors.

    Parameters
    ----------
    noisy : ndarray, shape (D, H, W), float32, C-contiguous
        D >= 2; finite where it is valid.
    valid : ndarray, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    modality : Modality, optional
    settings : Settings
    compute : Compute
    spacing_mm : tuple of 3 floats, optional
        (slice, row, column) spacing; without it the contrast retention of faint discs is not measured.
    earlier : EarlierFits, optional
        One of these replaces a fit if it is suitable; if none is, the new fit is added.
    name : str
        Name of the new fit.
    progress : callable, optional
        Called with the fraction done and the seconds left.

    Returns
    -------
    PipelineState
        After the last stage; ``denoised`` is a separate array.

    Raises
    ------
    VolumeError
        If a fit diverges.
    """
    logger.info(
        "denoising %d x %d x %d voxels: preset %s, seed %d, on %s",
        *noisy.shape,
        settings.preset,
        settings.seed,
        compute,
    )
    started = time.perf_counter()
    with reproducible(settings.seed) as threads:
        state = measured_state(noisy, valid, modality, settings, compute, spacing_mm)
        fitted = None
        if state.noise.median <= _NO_NOISE * _range(state.filled):
            logger.warning("neighboring slices do not differ by noise: the volume is returned unchanged")
            state = replace(state, denoised=copied(state.filled))
            listed = stages_without_noise()
        else:
            fitted = None if earlier is None else earlier.put_into(state)
            if fitted is not None:
                logger.info("noise and contrast are those of %s: its fit is reused", fitted.measured.start)
            listed = stages(settings, modality, fitted=fitted is not None)
            state = fitted or state
        clock = Clock([stage.cost for stage in listed], progress, settings.budget_s, started=started)
        with _threads_for(state.filled):
            for index, stage in enumerate(listed):
                state = stage.run(state, clock.stage(index))
        if earlier is not None and fitted is None:
            earlier.add(name, state)
        change = _rms_change(state.noisy, state.denoised, state.valid)
    if progress is not None:
        progress(1.0, 0.0)
    return state.measuring(rms_change=change, threads=threads, seconds=round(time.perf_counter() - started, 2))


def measured_state(
    noisy: Float32Array,
    valid: BoolArray | None,
    modality: Modality | None,
    settings: Settings,
    compute: Compute,
    spacing_mm: Spacing | None = None,
) -> PipelineState:
    """Return the state before the first stage, with the noise measured and the training target of each slice chosen.

    Parameters are those of :func:`run_pipeline`. From here on the volume is in the memory of the GPU, if that holds it.
    """
    noisy, filled, valid = _placed(noisy, valid, compute)
    with _threads_for(filled):
        noise = measure_noise(filled, valid, quiet_air=policy_of(modality).quiet_air)
        shared = SliceCorrelation()
        has_noise = noise.median > _NO_NOISE * _range(filled)
        if has_noise and settings.match.rule == "noise" and settings.match.correlation == "auto":
            shared = slice_correlation(filled, valid)
        if has_noise:
            noise = _without_anatomy(filled, valid, noise, policy_of(modality))
    partner = choose_partner(shared, len(noisy))
    if shared.nearest:
        noise = noise.shared(shared)
        logger.info(
            "neighboring slices share noise (correlation %.2f): slices %d apart are paired", shared.nearest,
            partner.distance,
        )  # fmt: skip
    state = PipelineState(
        noisy=noisy,
        filled=filled,
        valid=valid,
        modality=modality,
        spacing_mm=spacing_mm,
        settings=settings,
        compute=compute,
        noise=noise,
        partner=partner,
        denoised=filled,
    )
    return state.measuring(
        modality=modality.value if modality else "",
        noise_sd_median=noise.median,
        slice_correlation=shared.nearest,
        partner_distance=partner.distance,
        start="bundle" if starts_from_bundle(settings.network) else "none",
        compute=str(compute),
        volumes_in_files=in_files(),
    )


def _without_anatomy(filled: Array, valid: Array | None, noise: NoiseMap, policy: ModalityPolicy) -> NoiseMap:
    """Return the noise with its spectra, if their form is known, without what thick slices differ by; CT: in tissue."""
    rises = policy.ramp_filtered
    if not (rises or policy.flat_noise):
        return noise
    counted = {"valid": valid, "above": policy.air + _ABOVE_AIR if rises and policy.air is not None else None}
    powers = {px: noise_power(filled, noise.floored, px, **counted) for px in (BLOCK_PX, CUBE_PX)}
    kept = {px: without_anatomy(power, rises=rises) for px, power in powers.items()}
    if rises and falls_as_noise(filled, noise.floored, powers[BLOCK_PX], kept[BLOCK_PX], **counted):
        rises, kept = False, powers
    spectra = {px: of_mean_1(power) for px, power in kept.items()}
    level = noise_level(filled, noise.floored, spectra[BLOCK_PX], **counted) if policy.ramp_filtered else 1.0
    return replace(noise.scaled(min(max(level, _LEAST_LEVEL), _LARGEST_LEVEL)), spectra=spectra, rises=rises)


def _placed(noisy: Float32Array, valid: BoolArray | None, compute: Compute) -> tuple[Array, Array, Array | None]:
    """Return the volume, the volume with finite values everywhere and the mask where the run computes with them."""
    filled = noisy if valid is None else fill_invalid(noisy, valid)
    if not compute.holds(noisy.size):
        return noisy, filled, valid
    there = on_device(noisy, compute.device)
    if valid is None:
        return there, there, None
    return there, on_device(filled, compute.device), on_device(valid, compute.device)


def _threads_for(volume: Array) -> AbstractContextManager[None]:
    """Return the context in which the slices of a volume are processed: a single thread keeps a GPU busy."""
    return nullcontext() if isinstance(volume, np.ndarray) else with_threads(1)


def _range(filled: Array) -> float:
    return float(filled.max()) - float(filled.min())


def _rms_change(noisy: Array, denoised: Array, valid: Array | None) -> float:
    """Root mean square of the change, over the valid voxels; slice by slice, to save memory."""
    sum_of_squares, count = 0.0, 0
    for index in range(len(noisy)):
        where = ... if valid is None else valid[index]
        change = double(denoised[index][where]) - double(noisy[index][where])
        sum_of_squares += total(change * change)
        count += math.prod(change.shape)
    return math.sqrt(sum_of_squares / count) if count else 0.0
