# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Structure that a fit removed although it was not noise, and its restoration."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Array
from nsn2n.arrays.either import divided, namespace
from nsn2n.arrays.planes import gaussian
from nsn2n.arrays.ranks import median
from nsn2n.noise.blocks import MAD_TO_SD

__all__ = ["coherent_excess", "excess_noise", "normalized_mean", "removed_mean", "structure_share"]

_EDGE_LIMIT_SD = 2.0
"""Removed values are clipped to this many noise sd, so that the error at one sharp edge does not spread as a halo."""

_EXTENT_SD = 1.0
"""A structure ends where its local means fall to this many of their standard deviations."""

_STEPS_BETWEEN_LOOKS = 8
"""Pixels by which values spread within their regions on a GPU before it is asked whether they still do."""

_TRUNCATE_SD = 2.5
"""Truncation of the window of the removed mean: a wider one takes longer without relevant change."""


def removed_mean(removed_dhw: Array, noise_sd_dhw: Array, sigma_px: float) -> Array:
    """Local mean of the removed part: 0 for noise, a bias of the fit where it is not.

    White noise of sd s leaves s / (2 sqrt(pi) sigma_px) in this mean, 2 % at 12 pixels, which is restored with it.

    Parameters
    ----------
    removed_dhw : array, shape (D, H, W), float32
        Noisy minus denoised.
    noise_sd_dhw : array, same shape
        Local noise sd, same unit.
    sigma_px : float
        Standard deviation of the Gaussian window in the plane.

    Returns
    -------
    array, shape (D, H, W), float32
    """
    limit = _EDGE_LIMIT_SD * noise_sd_dhw
    return gaussian(removed_dhw.clip(-limit, limit), sigma_px, truncate=_TRUNCATE_SD)


def normalized_mean(removed_hw: Array, noise_sd_hw: Array, sigma_px: float) -> Array:
    """Return the local mean of the removed part in units of the noise, shape (H, W); 0 where there is none.

    Parameters are as in :func:`coherent_excess`.
    """
    return gaussian(divided(removed_hw, noise_sd_hw), sigma_px)


def excess_noise(removed_hw: Array, noise_sd_hw: Array, sigma_px: float) -> float:
    """Standard deviation of the local mean of noise, measured robustly on the removed part; noise sd of a voxel is 1.

    Parameters are as in :func:`coherent_excess`.
    """
    mean = normalized_mean(removed_hw, noise_sd_hw, sigma_px)
    present = noise_sd_hw > 0
    return float(median(abs(mean[present])) * MAD_TO_SD) if bool(present.any()) else 0.0


def coherent_excess(
    removed_hw: Array,
    noise_sd_hw: Array,
    sigma_px: float,
    mean_sd: float,
    threshold_sd: float,
) -> Array:
    """Return the part of what was removed that is too coherent for noise: small structures that a fit erased.

    Parameters
    ----------
    removed_hw : array, shape (H, W), float32
        Noisy minus denoised.
    noise_sd_hw : array, same shape
        Local noise sd, same unit.
    sigma_px : float
        Standard deviation of the Gaussian window in the plane: the size of the structures.
    mean_sd : float
        As returned by :func:`excess_noise`.
    threshold_sd : float
        A structure is where a local mean is beyond this many of its own standard deviations.

    Returns
    -------
    array, shape (H, W), float32
        The local mean in structures, as :func:`structure_share` finds them, 0 elsewhere.
    """
    mean = normalized_mean(removed_hw, noise_sd_hw, sigma_px)
    return structure_share(mean, mean_sd, threshold_sd) * mean * noise_sd_hw


def structure_share(mean_hw: Array, mean_sd: float, threshold_sd: float) -> Array:
    """Return the degree to which local means belong to structures and not to noise, 0 to 1.

    A structure is a connected region of local means of one sign and beyond one standard deviation, with at
    least one beyond the threshold: its faint rim is included with its peak, while noise alone never reaches it
    (hysteresis, as in Canny, IEEE Trans Pattern Anal 8 (1986) 679-698). Both limits are ramps of one standard
    deviation.

    Parameters
    ----------
    mean_hw : array, shape (H, W), float32
    mean_sd : float
        Standard deviation of such means of noise.
    threshold_sd : float
        In units of ``mean_sd``.

    Returns
    -------
    array, shape (H, W), float32
    """
    xp = namespace(mean_hw)
    height = abs(mean_hw) / float(np.float32(max(mean_sd, 1e-6)))
    share = xp.zeros_like(mean_hw)
    for positive in (True, False):
        of_sign = (mean_hw > 0) == positive
        seeds = (height > threshold_sd) & of_sign
        if bool(seeds.any()):
            certain = xp.where(seeds, height - float(np.float32(threshold_sd)), 0.0)
            share += _largest_of_region(certain, (height > min(_EXTENT_SD, threshold_sd)) & of_sign).clip(max=1.0)
    share *= (height - _EXTENT_SD).clip(0.0, 1.0)
    return share


def _largest_of_region(values: Array, inside: Array) -> Array:
    """Return in each connected region of a mask the largest of its values >= 0, shape (H, W); 0 outside."""
    if isinstance(values, np.ndarray):
        regions, count = ndimage.label(inside)
        largest = np.zeros(count + 1, np.float32)
        known = values > 0
        np.maximum.at(largest, regions[known], values[known])
        return np.asarray(largest[regions])
    xp = namespace(values)
    spread = xp.where(inside, values, 0.0)
    while True:
        before = spread
        for _ in range(_STEPS_BETWEEN_LOOKS):
            around = xp.nn.functional.pad(spread, (1, 1, 1, 1))
            for shifted in (around[:-2, 1:-1], around[2:, 1:-1], around[1:-1, :-2], around[1:-1, 2:]):
                spread = xp.maximum(spread, shifted)
            spread = xp.where(inside, spread, 0.0)
        if bool((spread == before).all()):
            return spread
