# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``denoise``: one volume in, one denoised volume out."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nsn2n._version import __version__
from nsn2n.errors import VolumeError
from nsn2n.filters.blending import blend
from nsn2n.pipeline import Run
from nsn2n.settings import Settings
from nsn2n.settings import preset as preset_settings
from nsn2n.stack.parts import checked_parts, denoise_parts, for_each_part
from nsn2n.stack.shear import denoise_sheared, layout_of
from nsn2n.stack.validation import checked_volume
from nsn2n.stages import Clock, Progress, stages_of
from nsn2n.structure_check import StructureCheck
from nsn2n.training.inference import choose_compute
from nsn2n.training.pretrained import starts_from_bundle

__all__ = ["DenoiseResult", "denoise"]

logger = logging.getLogger(__name__)

Spacing = tuple[float, float, float]
Shear = tuple[float, float]
Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]


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
    """Shape (steps,), float32: the loss at each step, of one part after the other."""
    parts: tuple[Mapping[str, Any], ...] = ()
    """Of a volume in parts: what was measured on each that was denoised, and its ``slices``."""
    part_slices: tuple[int, ...] = ()
    """Of a volume in parts: slices of each, in order, those of a single slice too."""
    structure: StructureCheck
    """Whether what was removed looks like noise; of the whole change, whatever the strength."""
    valid: BoolArray | None = None
    """Shape (D, H, W): voxels that hold a measurement, which are finite and not excluded; None: all."""
    shears_px: tuple[Shear, ...] = ((0.0, 0.0),)
    """Of each part: (rows, columns) by which each slice lies displaced against the one before, as far as slices were
    moved onto each other for it; 0 where they were denoised as they lie."""

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
            **({"parts": [dict(part) for part in self.parts]} if self.parts else {}),
            "structure": self.structure.record,
        }

    def summary(self) -> str:
        """Return one line of ASCII, for logs and for DerivationDescription."""
        measured = self.measured
        return (
            f"NS-N2N denoising (self-supervised fit on this series alone), nsn2n {__version__}, preset "
            f"{self.settings.preset}, seed {self.seed}, {measured['steps']} steps on {measured['compute']}; "
            f"median noise sd {measured['noise_sd_median']:.4g}, matched {measured['matched_fraction']:.2f}, "
            f"rms change {measured['rms_change']:.4g}, structure check {self.structure.verdict}{self._sharing()}"
            f"{'; mean of Rician noise taken away' if measured['rician_bias_taken'] else ''}"
            f"{self._blending()}{self._summary_of_parts()}"
        )

    def _sharing(self) -> str:
        shared = self.measured["slice_correlation"]
        return f"; noise of neighboring slices correlated, {shared:.2f}" if shared else ""

    def _blending(self) -> str:
        strength = self.settings.strength
        return "" if strength == 1 else f"; blended, {strength:.4g} denoised + {1 - strength:.4g} source"

    def _summary_of_parts(self) -> str:
        if not self.parts:
            return ""
        alone = self.measured["slices_alone"]
        unchanged = f" ({alone} slices without neighbor unchanged)" if alone else ""
        return f"; {self.measured['parts']} parts, each fitted alone{unchanged}"


def denoise(
    volume: ArrayLike,
    *,
    spacing_mm: Spacing | Sequence[Spacing] | None = None,
    modality: Literal["CT", "MR", "PT"] | None = None,
    preset: str = "default",
    seed: int | None = None,
    strength: float | None = None,
    device: str = "auto",
    config: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
    exclude: ArrayLike | None = None,
    parts: Sequence[int] | None = None,
    shear_px: Shear | Sequence[Shear] | None = None,
) -> DenoiseResult:
    """Denoise a volume by a network that is fitted to this volume alone (NS-N2N).

    Parameters
    ----------
    volume : array_like, shape (D, H, W), real numbers
        D parallel slices, at least 2, of any unit. Voxels that are not finite come back as they are.
    spacing_mm : tuple of 3 floats, optional
        (slice, row, column) spacing in mm; a large slice spacing is remarked on. One for all parts, or one for each.
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
    parts : sequence of int, optional
        Slices of each part, in order, where the volume is not one stack of neighbors: each part is denoised apart,
        and one of a single slice stays as it is.
    shear_px : tuple of 2 floats, optional
        (rows, columns) by which each slice lies displaced in its plane against the one before, as a tilted gantry
        leaves it; slices are moved onto each other by whole pixels while they are denoised. One for all parts, or one
        for each.

    Returns
    -------
    DenoiseResult

    Raises
    ------
    VolumeError
        If the array cannot be denoised (see :func:`nsn2n.stack.validation.checked_volume`).
    SettingsError
        If a setting, the preset or the device is unknown or out of bounds.

    Notes
    -----
    Source: Zhou et al., arXiv 2411.10831. The preset ``paper`` is that method; ``default`` differs in what
    :mod:`nsn2n.settings` says field by field.
    """
    slices = np.shape(volume)[0] if np.ndim(volume) else 0
    counts = checked_parts(parts, slices)
    spacings_mm = for_each_part("spacing_mm", spacing_mm, 3, len(counts))
    shears_px = for_each_part("shear_px", shear_px, 2, len(counts))
    chosen = partial(
        denoise, modality=modality, preset=preset, seed=seed, strength=strength, device=device, config=config
    )
    settings = _resolve_settings(preset, seed, strength, config)
    if len(counts) > 1:
        # A spacing is there to be remarked on, which once is enough.
        hints: list[dict[str, Any]] = [
            {"spacing_mm": None if spacing in spacings_mm[:index] else spacing, "shear_px": shear}
            for index, (spacing, shear) in enumerate(zip(spacings_mm, shears_px, strict=True))
        ]
        if settings.budget_s is not None:
            for hint, count in zip(hints, counts, strict=True):
                hint["config"] = {**(config or {}), "budget_s": settings.budget_s * count / slices}
        joined = denoise_parts(chosen, np.asarray(volume), counts, hints=hints, exclude=exclude, progress=progress)
        return replace(joined, settings=settings)
    layout = layout_of(np.shape(volume), shears_px[0])
    if layout is not None:
        moved = partial(chosen, spacing_mm=spacings_mm[0], progress=progress)
        return denoise_sheared(moved, np.asarray(volume), layout, exclude)
    _check_hints(spacings_mm[0], modality)
    noisy, valid = checked_volume(volume, exclude)
    compute = choose_compute(device)
    logger.info(
        "denoising %d x %d x %d voxels: preset %s, seed %d, on %s",
        *noisy.shape,
        settings.preset,
        settings.seed,
        compute,
    )
    stages = stages_of(settings, modality)
    clock = Clock(stages, progress, settings.budget_s)
    run = Run(noisy, valid, settings, compute, clock)
    denoised, loss = run.denoise(stages, modality)
    denoised = blend(noisy, denoised, settings.strength)
    measured: dict[str, float | int | str | bool] = {
        "modality": modality or "",
        "noise_sd_median": run.noise.median,
        "slice_correlation": run.slice_correlation,
        "partner_distance": run.partner.distance,
        "matched_fraction": run.matched_fraction,
        "rician_bias_taken": run.bias_taken,
        "rms_change": _rms_change(noisy, denoised, valid),
        "start": "bundle" if starts_from_bundle(settings.network) else "none",
        "steps": len(loss),
        "refit_steps": run.refit_steps,
        "final_loss": float(np.mean(loss[-50:])) if len(loss) else 0.0,
        "compute": str(compute),
        "seconds": round(time.perf_counter() - clock.started, 2),
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
        valid=valid,
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


def _check_hints(spacing_mm: Spacing | None, modality: str | None) -> None:
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
