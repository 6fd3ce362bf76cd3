# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What ``denoise`` returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nsn2n._aliases import Float32Array, Shear
from nsn2n._version import __version__
from nsn2n.contrast_kept import ContrastKept
from nsn2n.measurements import Measurements
from nsn2n.settings import Settings
from nsn2n.structure_check import StructureCheck

__all__ = ["DenoiseResult"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseResult:
    """A denoised volume and how it was computed."""

    volume: Float32Array
    """Shape (D, H, W), float32, in the unit of the input."""
    noise_sd: Float32Array
    """Shape (D, H, W), float32: local standard deviation of the input's noise, as estimated; 0 where it has none."""
    settings: Settings
    """The settings that were used, the seed among them."""
    measured: Measurements
    """What was measured: noise, matched fraction, change, loss, seconds; merged over the parts."""
    loss: Float32Array
    """Shape (steps,), float32: the loss at each step, of one part after the other."""
    parts: tuple[tuple[int, Measurements], ...] = ()
    """Of a volume in parts: the slices of each that was denoised, and what was measured on it."""
    structure: StructureCheck
    """Whether what was removed looks like noise; of the whole change, whatever the strength."""
    contrast: ContrastKept | None = None
    """Contrast retention of faint discs, with the strength that was used; None if it was not measured."""
    shears_px: tuple[Shear, ...] = ((0.0, 0.0),)
    """Of each part: (rows, columns) by which each slice is displaced relative to the one before, if slices were aligned
    for it; 0 if they were denoised without alignment."""

    image: Any = None
    """The volume as an image of the kind that was passed, of nibabel or SimpleITK, in its axes; None if none was."""

    @property
    def seed(self) -> int:
        """The seed that was used."""
        return self.settings.seed

    @property
    def record(self) -> dict[str, Any]:
        """Version, settings and measurements as plain values that JSON can hold."""
        parts = [{"slices": slices, **measured.to_mapping()} for slices, measured in self.parts]
        return {
            "version": __version__,
            "settings": self.settings.to_mapping(),
            "measured": self.measured.to_mapping(),
            **({"parts": parts} if parts else {}),
            "structure": self.structure.record,
            "contrast_kept": None if self.contrast is None else self.contrast.record,
        }

    def summary(self) -> str:
        """Return one line of ASCII, for logs and for DerivationDescription."""
        measured = self.measured
        return (
            f"NS-N2N denoising (self-supervised fit on this series alone), nsn2n {__version__}, preset "
            f"{self.settings.preset}, seed {self.seed}, {measured.steps} steps on {measured.compute}; "
            f"median noise sd {measured.noise_sd_median:.4g}, matched {measured.matched_fraction:.2f}, "
            f"rms change {measured.rms_change:.4g}, structure check {self.structure.verdict}"
            f"{self._acquired_grid()}{self._sharing()}{self._rician_mean()}{self._blending()}{self._summary_of_parts()}"
        )

    def _acquired_grid(self) -> str:
        rows, columns = self.measured.acquired_rows, self.measured.acquired_columns
        return "" if rows is None else f"; interpolated slices denoised on a grid of {rows} x {columns}"

    def _sharing(self) -> str:
        shared = self.measured.slice_correlation
        return f"; noise of neighboring slices correlated, {shared:.2f}" if shared else ""

    def _rician_mean(self) -> str:
        """Whether its mean was subtracted; the sentence is in every slice, so it never claims more than was done."""
        taken = sum(measured.rician_bias_taken for _, measured in self.parts)
        if taken and taken != self.measured.parts:
            return f"; mean of Rician noise subtracted in {taken} of {self.measured.parts} parts"
        return "; mean of Rician noise subtracted" if self.measured.rician_bias_taken else ""

    def _blending(self) -> str:
        strength = self.settings.strength
        return "" if strength == 1 else f"; blended, {strength:.4g} denoised + {1 - strength:.4g} source"

    def _summary_of_parts(self) -> str:
        if not self.parts:
            return ""
        alone = self.measured.slices_alone
        unchanged = f" ({alone} slices without neighbor unchanged)" if alone else ""
        fitted = sum(not measured.start.startswith("part") for _, measured in self.parts)
        fits = "each fitted alone" if fitted == len(self.parts) else f"denoised by {fitted} fits"
        return f"; {self.measured.parts} parts, {fits}{unchanged}"
