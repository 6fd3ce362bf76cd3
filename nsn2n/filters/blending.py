# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Blends a denoised volume with its source, for readers who prefer to keep a fraction of the noise."""

from __future__ import annotations

from nsn2n._aliases import Array
from nsn2n.errors import SettingsError

__all__ = ["blend"]


def blend(original_dhw: Array, denoised_dhw: Array, strength: float) -> Array:
    """Move a denoised volume back towards its source: ``original + strength * (denoised - original)``.

    The fraction ``1 - strength`` of the removed noise is kept, and with it the same fraction of its mean, which in MR
    magnitudes is not 0 (:mod:`nsn2n.noise.rician`). This is correct: where there is no signal the mean of a magnitude
    is proportional to its noise, so a slice with half of the noise has half of that mean.

    Parameters
    ----------
    original_dhw : array, shape (D, H, W), float32
    denoised_dhw : array, same shape, float32
        Changed in place.
    strength : float
        0: the source, bit for bit; 1: the denoised volume, bit for bit.

    Returns
    -------
    array, shape (D, H, W), float32
        `denoised_dhw`. Voxels that are the same in both (padding, infinite ones) stay so.

    Raises
    ------
    SettingsError
        If the strength is not in 0..1.
    """
    if not 0 <= strength <= 1:
        raise SettingsError(f"strength must be in 0..1; got {strength!r}. Correct it.")
    if strength == 0:
        denoised_dhw[...] = original_dhw
    elif strength < 1:
        # Slice by slice, to save memory.
        for original_hw, denoised_hw in zip(original_dhw, denoised_dhw, strict=True):
            changed = original_hw != denoised_hw  # infinity minus infinity is NaN
            original = original_hw[changed]
            denoised_hw[changed] = original + strength * (denoised_hw[changed] - original)
    return denoised_dhw
