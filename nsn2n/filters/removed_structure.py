# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Structure that a fit removed although it was not noise, and its restoration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n.noise.level import MAD_TO_SD

__all__ = ["coherent_excess", "excess_noise", "normalized_mean", "removed_mean", "structure_share"]

_EDGE_LIMIT_SD = 2.0
"""Removed values are clipped to this many noise sd, so that the error at one sharp edge does not spread as a halo."""

_EXTENT_SD = 1.0
"""A structure ends where its local means fall to this many of their standard deviations."""

_TRUNCATE_SD = 2.5
"""Truncation of the window of the removed mean: a wider one takes longer without relevant change."""


def removed_mean(
    removed_dhw: NDArray[np.float32], noise_sd_dhw: NDArray[np.float32], sigma_px: float
) -> NDArray[np.float32]:
    """Local mean of the removed part: 0 for noise, a bias of the fit where it is not.

    White noise of sd s leaves s / (2 sqrt(pi) sigma_px) in this mean, 2 % at 12 pixels, which is restored with it.

    Parameters
    ----------
    removed_dhw : ndarray, shape (D, H, W), float32
        Noisy minus denoised.
    noise_sd_dhw : ndarray, same shape
        Local noise sd, same unit.
    sigma_px : float
        Standard deviation of the Gaussian window in the plane.

    Returns
    -------
    ndarray, shape (D, H, W), float32
    """
    limit = _EDGE_LIMIT_SD * noise_sd_dhw
    limited = np.clip(removed_dhw, -limit, limit)
    mean = ndimage.gaussian_filter(limited, (0, sigma_px, sigma_px), truncate=_TRUNCATE_SD)
    return np.asarray(mean, dtype=np.float32)


def normalized_mean(
    removed_hw: NDArray[np.float32], noise_sd_hw: NDArray[np.float32], sigma_px: float
) -> NDArray[np.float32]:
    """Return the local mean of the removed part in units of the noise, shape (H, W); 0 where there is none.

    Parameters are as in :func:`coherent_excess`.
    """
    normalized = np.divide(removed_hw, noise_sd_hw, out=np.zeros_like(removed_hw), where=noise_sd_hw > 0)
    return np.asarray(ndimage.gaussian_filter(normalized, sigma_px), dtype=np.float32)


def excess_noise(removed_hw: NDArray[np.float32], noise_sd_hw: NDArray[np.float32], sigma_px: float) -> float:
    """Standard deviation of the local mean of noise, measured robustly on the removed part; noise sd of a voxel is 1.

    Parameters are as in :func:`coherent_excess`.
    """
    mean = normalized_mean(removed_hw, noise_sd_hw, sigma_px)
    present = noise_sd_hw > 0
    return float(np.median(np.abs(mean[present])) * MAD_TO_SD) if present.any() else 0.0


def coherent_excess(
    removed_hw: NDArray[np.float32],
    noise_sd_hw: NDArray[np.float32],
    sigma_px: float,
    mean_sd: float,
    threshold_sd: float,
) -> NDArray[np.float32]:
    """Return the part of what was removed that is too coherent for noise: small structures that a fit erased.

    Parameters
    ----------
    removed_hw : ndarray, shape (H, W), float32
        Noisy minus denoised.
    noise_sd_hw : ndarray, same shape
        Local noise sd, same unit.
    sigma_px : float
        Standard deviation of the Gaussian window in the plane: the size of the structures.
    mean_sd : float
        As returned by :func:`excess_noise`.
    threshold_sd : float
        A structure is where a local mean is beyond this many of its own standard deviations.

    Returns
    -------
    ndarray, shape (H, W), float32
        The local mean in structures, as :func:`structure_share` finds them, 0 elsewhere.
    """
    mean = normalized_mean(removed_hw, noise_sd_hw, sigma_px)
    return np.asarray(structure_share(mean, mean_sd, threshold_sd) * mean * noise_sd_hw, dtype=np.float32)


def structure_share(mean_hw: NDArray[np.float32], mean_sd: float, threshold_sd: float) -> NDArray[np.float32]:
    """Return the degree to which local means belong to structures and not to noise, 0 to 1.

    A structure is a connected region of local means of one sign and beyond one standard deviation, with at
    least one beyond the threshold: its faint rim is included with its peak, while noise alone never reaches it
    (hysteresis, as in Canny, IEEE Trans Pattern Anal 8 (1986) 679-698). Both limits are ramps of one standard
    deviation.

    Parameters
    ----------
    mean_hw : ndarray, shape (H, W), float32
    mean_sd : float
        Standard deviation of such means of noise.
    threshold_sd : float
        In units of ``mean_sd``.

    Returns
    -------
    ndarray, shape (H, W), float32
    """
    height = np.abs(mean_hw) / np.float32(max(mean_sd, 1e-6))
    share = np.zeros_like(mean_hw)
    for positive in (True, False):
        of_sign = (mean_hw > 0) == positive
        seeds = (height > threshold_sd) & of_sign
        if seeds.any():
            regions, count = ndimage.label((height > min(_EXTENT_SD, threshold_sd)) & of_sign)
            certain = np.zeros(count + 1, np.float32)
            np.maximum.at(certain, regions[seeds], height[seeds] - np.float32(threshold_sd))
            share += np.minimum(certain, 1.0)[regions]
    share *= np.clip(height - _EXTENT_SD, 0.0, 1.0)
    return share
