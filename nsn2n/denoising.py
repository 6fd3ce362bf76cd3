# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``denoise``: one volume in, one denoised volume out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from nsn2n._version import __version__
from nsn2n.averaging import guided_mean, step_for
from nsn2n.blending import blend
from nsn2n.errors import VolumeError
from nsn2n.fitting import Problem, fit
from nsn2n.inference import Compute, choose_compute, denoised_batches, reproducible
from nsn2n.networks import build_network
from nsn2n.noise import measure_noise, noise_sd_slice
from nsn2n.pairing import pairs_by_denoised, pairs_by_low_pass, pairs_by_noise
from nsn2n.refitting import refit
from nsn2n.restoring import coherent_excess, excess_noise, removed_mean
from nsn2n.rician import channel_noise, without_bias
from nsn2n.settings import Settings
from nsn2n.settings import preset as preset_settings
from nsn2n.structure import StructureCheck, check_structure
from nsn2n.volume import checked_volume, fill_invalid

__all__ = ["DenoiseResult", "denoise"]

logger = logging.getLogger(__name__)

Progress = Callable[[float, float], None]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_NO_NOISE = 1e-6
"""Noise below this fraction of the data range is rounding, not noise."""

_STAGES = {"fit": 6.0, "apply": 2.0, "average": 2.0, "refit": 8.0, "average again": 2.0}
"""The stages of a run and about how long each takes, for the progress bar."""


_EXCESS_PX = (2.0, 1.0)
"""Sizes of the structures that are looked for in what was removed, as sd of a Gaussian."""

_SAMPLE_SLICES = 16
"""Slices on which the noise of a local mean, and its correlation, are measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseResult:
    """A denoised volume and how it came about."""

    volume: Float32Array
    """Shape (D, H, W), float32, in the unit of the input."""
    noise_sd: Float32Array
    """Shape (D, H, W), float32: local standard deviation of the input's noise, as estimated; 0 where it has none."""
    settings: Settings
    """The settings that were used, the seed among them."""
    measured: Mapping[str, float | int | str | bool]
    """What was measured: noise, matched fraction, change, loss, seconds; which of the stages were taken."""
    loss: Float32Array
    """Shape (steps,), float32: the loss at each step."""
    structure: StructureCheck
    """Whether what was removed looks like noise; of the whole change, whatever the strength."""

    @property
    def seed(self) -> int:
        """The seed that was used."""
        return self.settings.seed

    @property
    def record(self) -> dict[str, Any]:
        """Version, settings and measurements as plain values that JSON can hold."""
        return {
            "version": __version__,
            "settings": self.settings.to_mapping(),
            "measured": dict(self.measured),
            "structure": self.structure.record,
        }

    def summary(self) -> str:
        """Return one line of ASCII, for logs and for DerivationDescription."""
        measured = self.measured
        return (
            f"NS-N2N denoising (self-supervised fit on this series alone), nsn2n {__version__}, preset "
            f"{self.settings.preset}, seed {self.seed}, {measured['steps']} steps on {measured['compute']}; "
            f"median noise sd {measured['noise_sd_median']:.4g}, matched {measured['matched_fraction']:.2f}, "
            f"rms change {measured['rms_change']:.4g}, structure check {self.structure.verdict}"
            f"{'; mean of Rician noise taken away' if measured['rician_bias_taken'] else ''}"
            f"{self._blending()}"
        )

    def _blending(self) -> str:
        strength = self.settings.strength
        return "" if strength == 1 else f"; blended, {strength:.4g} denoised + {1 - strength:.4g} source"


def denoise(
    volume: ArrayLike,
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    modality: Literal["CT", "MR", "PT"] | None = None,
    preset: str = "default",
    seed: int | None = None,
    strength: float | None = None,
    device: str = "auto",
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    exclude: ArrayLike | None = None,
) -> DenoiseResult:
    """Denoise a volume by a network that is fitted to this volume alone (NS-N2N).

    Parameters
    ----------
    volume : array_like, shape (D, H, W), real numbers
        D parallel slices, at least 2, of any unit. Voxels that are not finite come back as they are.
    spacing_mm : tuple of 3 floats, optional
        (slice, row, column) spacing in mm; a large slice spacing is remarked on.
    modality : {"CT", "MR", "PT"}, optional
        Kept in the record. With MR the values are taken as magnitudes, of whose noise the mean is removed
        (``rician`` in the settings).
    preset : {"default", "fast", "paper"}
        Where the settings start from.
    seed : int, optional
        0 or more; by default the settings', which is 0.
    strength : float, optional
        How much of the noise to remove, 0 (none) to 1; by default the settings', which is 1.
    device : {"auto", "cpu", "cuda"}
    config : mapping, optional
        Settings that differ from the preset's, as :meth:`Settings.from_mapping` takes them.
    progress : callable, optional
        Called with (fraction done, seconds left).
    exclude : array_like, shape (D, H, W), bool, optional
        Voxels that hold no measurement, such as padding: they come back as they are and teach nothing.

    Returns
    -------
    DenoiseResult

    Raises
    ------
    VolumeError
        If the array cannot be denoised (see :func:`nsn2n.volume.checked_volume`).
    SettingsError
        If a setting, the preset or the device is unknown or out of bounds.

    Notes
    -----
    Source: Zhou et al., arXiv 2411.10831. The preset ``paper`` is that method; ``default`` differs in what
    :mod:`nsn2n.settings` says field by field.
    """
    started = time.perf_counter()
    settings = _resolve_settings(preset, seed, strength, config)
    _check_hints(spacing_mm, modality)
    noisy, valid = checked_volume(volume, exclude)
    compute = choose_compute(device)
    logger.info(
        "denoising %d x %d x %d voxels: preset %s, seed %d, on %s",
        *noisy.shape,
        settings.preset,
        settings.seed,
        compute,
    )
    stages = _stages(settings, modality)
    run = _Run(noisy, valid, settings, compute, _Clock(progress, started, stages))
    denoised, loss = run.denoise(stages, modality)
    denoised = blend(noisy, denoised, settings.strength)
    measured: dict[str, float | int | str | bool] = {
        "modality": modality or "",
        "noise_sd_median": run.noise.median,
        "matched_fraction": run.matched_fraction,
        "rician_bias_taken": run.bias_taken,
        "rms_change": _rms_change(noisy, denoised, valid),
        "steps": len(loss),
        "refit_steps": settings.refit.steps if "refit" in stages and len(loss) else 0,
        "final_loss": float(np.mean(loss[-50:])) if len(loss) else 0.0,
        "compute": str(compute),
        "seconds": round(time.perf_counter() - started, 2),
    }
    if progress is not None:
        progress(1.0, 0.0)
    return DenoiseResult(
        volume=denoised,
        noise_sd=run.noise.sd,
        settings=settings,
        measured=measured,
        loss=loss,
        structure=run.structure,
    )


def _resolve_settings(
    preset: str, seed: int | None, strength: float | None, config: Mapping[str, Any] | None
) -> Settings:
    settings = preset_settings(preset)
    if config:
        settings = Settings.from_mapping(config, base=None if "preset" in config else settings)
    if strength is not None:
        settings = replace(settings, strength=float(strength))
    # NumPy's integers count as integers, but JSON cannot hold them.
    return settings if seed is None else replace(settings, seed=int(seed) if hasattr(seed, "__index__") else seed)


def _rms_change(noisy: Float32Array, denoised: Float32Array, valid: BoolArray | None) -> float:
    """Root mean square of what was changed, over the valid voxels; slice by slice, to spare memory."""
    total, count = 0.0, 0
    for index in range(len(noisy)):
        where = ... if valid is None else valid[index]
        change = np.subtract(denoised[index][where], noisy[index][where], dtype=np.float64)
        total += float(np.square(change).sum())
        count += change.size
    return math.sqrt(total / count) if count else 0.0


def _check_hints(spacing_mm: tuple[float, float, float] | None, modality: str | None) -> None:
    if modality not in (None, "CT", "MR", "PT"):
        raise VolumeError(f"modality must be CT, MR, PT or None; got {modality!r}.")
    if spacing_mm is None:
        return
    if len(spacing_mm) != 3 or not all(np.isfinite(value) and value > 0 for value in spacing_mm):
        raise VolumeError(f"spacing_mm must be three positive numbers (slice, row, column); got {spacing_mm!r}.")
    if spacing_mm[0] > _FAR_MM:
        logger.warning(
            "slices are %.3g mm apart: neighbors further than %.3g mm show different tissue, and less noise is removed",
            spacing_mm[0], _FAR_MM,
        )  # fmt: skip


_FAR_MM = 4.0
"""Slice spacing beyond which the gain falls (Cho and Yoo, arXiv 2606.23200)."""


class _Clock:
    """Turns the fractions of the stages into one fraction and the seconds left."""

    def __init__(self, progress: Progress | None, started: float, stages: list[str]) -> None:
        self._progress = progress
        self._started = started
        ends = np.cumsum([0.0, *(_STAGES[stage] for stage in stages)])
        self._spans = {stage: (ends[i] / ends[-1], ends[i + 1] / ends[-1]) for i, stage in enumerate(stages)}

    def stage(self, name: str) -> Callable[[float], None]:
        """Return what takes the fraction done of that stage."""
        start, end = self._spans[name]

        def tell(fraction: float) -> None:
            if self._progress is not None:
                done = float(start + fraction * (end - start))
                elapsed = time.perf_counter() - self._started
                self._progress(done, elapsed * (1.0 - done) / max(done, 1e-6))

        return tell


def _stages(settings: Settings, modality: str | None) -> list[str]:
    """The stages that a run has, in order."""
    refits = settings.refit.when == "always" or (settings.refit.when == "mr" and modality == "MR")
    averages = settings.average.reach > 0
    wanted = {"fit": True, "apply": True, "average": averages, "refit": refits, "average again": averages and refits}
    return [stage for stage in _STAGES if wanted[stage]]


class _Run:
    """One volume on its way through the method."""

    def __init__(
        self,
        noisy: Float32Array,
        valid: BoolArray | None,
        settings: Settings,
        compute: Compute,
        clock: _Clock,
    ) -> None:
        self._noisy = noisy
        self._valid = valid
        self._settings = settings
        self._compute = compute
        self._clock = clock
        self._filled = noisy if valid is None else fill_invalid(noisy, valid)
        self.matched_fraction = 0.0
        self.bias_taken = False
        self._step_px = settings.average.step_px
        self.noise = measure_noise(self._filled, valid)

    def denoise(self, stages: list[str], modality: str | None) -> tuple[Float32Array, Float32Array]:
        """Return the denoised volume and the loss at each step of the first fit."""
        low, high = float(self._filled.min()), float(self._filled.max())
        if self.noise.median <= _NO_NOISE * (high - low):
            logger.warning("neighboring slices do not differ by noise: the volume is returned unchanged")
            self.structure = self._checked_structure(self._filled)
            return self._noisy.copy(), np.empty(0, np.float32)
        with reproducible(self._settings.seed):
            denoised, loss = self._fitted(low, high)
            self._give_back(denoised)
            if "average" in stages:
                self._average(denoised, "average")
            if "refit" in stages:
                predicted = self._refitted(denoised)
                self._give_back(predicted)
                denoised[...] = predicted
                if "average again" in stages:
                    self._average(denoised, "average again")
                for averaged_hw, predicted_hw in zip(denoised, predicted, strict=True):
                    averaged_hw += self._settings.refit.share * (predicted_hw - averaged_hw)
        self._restrain(denoised)
        self.structure = self._checked_structure(denoised)
        if self._settings.rician and modality == "MR":
            self.bias_taken = self._take_bias(denoised, low)
        if self._valid is not None:
            denoised[~self._valid] = self._noisy[~self._valid]
        return denoised, loss

    def _fitted(self, low: float, high: float) -> tuple[Float32Array, Float32Array]:
        """Fit a network, and return the volume that it denoised, and the loss at each step."""
        problem = self._problem(low, high)
        network = build_network(self._settings.network).to(self._compute.device)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        loss = fit(
            network,
            problem,
            self._settings,
            self._compute,
            rematch=self._rematcher(problem),
            progress=self._clock.stage("fit"),
        )
        denoised = np.empty_like(self._noisy)
        tell = self._clock.stage("apply")
        batches = denoised_batches(
            network, problem.slices, problem.offset, problem.unit, self._compute, self._settings.fit.flips
        )
        for part, removed in batches:
            np.subtract(self._filled[part], removed * problem.unit, out=denoised[part])
            tell(part.stop / len(denoised))
        return denoised, loss

    def _problem(self, low: float, high: float) -> Problem:
        """State what is fitted: slices, units and matched regions."""
        settings = self._settings.match
        by_noise = self._settings.loss.units == "noise"
        error_scale = None
        if by_noise:
            error_scale = np.maximum(self.noise.sd, self.noise.floor)
            error_scale /= self.noise.median
        if settings.rule == "noise":
            matched = pairs_by_noise(self._filled, self.noise, settings)
        else:
            matched = pairs_by_low_pass(self._filled, low, high, settings.tau)
        device = self._compute.device
        return Problem(
            slices=torch.from_numpy(self._filled).to(device),
            offset=0.0 if by_noise else low,
            unit=self.noise.median if by_noise else high - low,
            error_scale=None if error_scale is None else torch.from_numpy(error_scale).to(device),
            matched=self._usable_pairs(matched),
        )

    def _usable_pairs(self, matched: BoolArray) -> Tensor:
        """Take pairs with an invalid voxel out of W_i, and note how much is matched."""
        if self._valid is not None:
            matched &= self._valid[1:] & self._valid[:-1]
        self.matched_fraction = float(matched.mean())
        logger.debug("matched regions: %.1f %% of the pairs", 100 * self.matched_fraction)
        return torch.from_numpy(matched).to(self._compute.device)

    def _rematcher(self, problem: Problem) -> Callable[[nn.Module], Tensor] | None:
        """Return what judges the neighbors again by the fitted network, where the settings ask for it."""
        settings = self._settings.match
        if settings.rule != "noise" or settings.refine_at >= 1:
            return None

        def rematch(network: nn.Module) -> Tensor:
            batches = denoised_batches(network, problem.slices, problem.offset, problem.unit, self._compute)
            denoised = (
                self._filled[index] - removed_hw * problem.unit
                for part, removed in batches
                for index, removed_hw in zip(range(part.start, part.stop), removed, strict=True)
            )
            return self._usable_pairs(pairs_by_denoised(denoised, self.noise, settings))

        return rematch

    def _average(self, guide: Float32Array, stage: str) -> None:
        """Replace the guide by the mean of the noisy voxels that it says are alike."""
        if self._step_px is None:
            sample = self._sample()
            self._step_px = step_for(
                [self._filled[index] - guide[index] for index in sample],
                [self.noise.floored(index) for index in sample],
            )
        guided_mean(
            self._filled,
            guide,
            self.noise.floored,
            self._settings.average,
            step_px=self._step_px,
            valid=self._valid,
            device=self._compute.device,
            progress=self._clock.stage(stage),
        )

    def _refitted(self, guide: Float32Array) -> Float32Array:
        """Fit a network to the guide with this volume's noise, and return the volume that it denoised."""
        return refit(
            self._filled,
            guide,
            self.noise,
            self._settings,
            self._compute,
            valid=self._valid,
            progress=self._clock.stage("refit"),
        )

    def _give_back(self, denoised: Float32Array) -> None:
        """Give back what is too coherent for noise, in place."""
        threshold = self._settings.excess_sd
        if threshold is None:
            return
        sample = self._sample()
        for sigma_px in _EXCESS_PX:
            mean_sd = float(
                np.median(
                    [excess_noise(self._filled[i] - denoised[i], self.noise.floored(i), sigma_px) for i in sample]
                )
            )
            for index, denoised_hw in enumerate(denoised):
                removed = self._filled[index] - denoised_hw
                denoised_hw += coherent_excess(removed, self.noise.floored(index), sigma_px, mean_sd, threshold)

    def _sample(self) -> list[int]:
        """Indices of some slices, evenly spread, on which something is measured."""
        count = min(len(self._noisy), _SAMPLE_SLICES)
        return sorted({int(index) for index in np.linspace(0, len(self._noisy) - 1, count)})

    def _restrain(self, denoised: Float32Array) -> None:
        """Give back the local mean of what was removed, and let no voxel change by more than the settings allow."""
        settings = self._settings
        for index in range(len(denoised)):
            part = slice(index, index + 1)
            removed = self._filled[part] - denoised[part]
            if settings.mean_px is not None:
                removed -= removed_mean(removed, self.noise.sd[part], settings.mean_px)
            if settings.largest_change_sd is not None:
                bound = settings.largest_change_sd * self.noise.sd[part]
                np.clip(removed, -bound, bound, out=removed)
            np.subtract(self._filled[part], removed, out=denoised[part])

    def _checked_structure(self, denoised: Float32Array) -> StructureCheck:
        """Judge what was removed, and warn if it does not look like noise."""
        structure = check_structure(
            self._filled,
            denoised,
            self.noise.sd,
            self._settings.structure,
            floor=self.noise.floor,
            valid=self._valid,
        )
        if structure.verdict != "pass":
            logger.warning("what was removed does not look like noise alone: %s", structure.summary())
        return structure

    def _take_bias(self, denoised: Float32Array, low: float) -> bool:
        """Take the mean of the noise out of magnitudes; False if the volume is none."""
        if low < 0:
            logger.warning("the volume holds negative values, so it is no magnitude: the noise's mean stays")
            return False
        channel_sd = channel_noise(self.noise.blocks, denoised)
        for index, blocks_hw in enumerate(channel_sd):
            denoised[index] = without_bias(denoised[index], noise_sd_slice(blocks_hw, denoised.shape[1:]))
        return True
