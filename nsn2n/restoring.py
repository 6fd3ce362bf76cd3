# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a fit took away although it was not noise, and how it is given back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n.noise import MAD_TO_SD

__all__ = ["beyond", "coherent_excess", "excess_noise", "normalized_mean", "removed_mean"]

_EDGE_LIMIT_SD = 2.0
"""Removed values count up to this many noise sd, so that the error at one sharp edge does not spread as a halo."""


def removed_mean(
    removed_dhw: NDArray[np.float32], noise_sd_dhw: NDArray[np.float32], sigma_px: float
) -> NDArray[np.float32]:
    """Local mean of the removed part: 0 for noise, a bias of the fit where it is not.

    White noise of sd s keeps s / (2 sqrt(pi) sigma_px) in this mean, 5 % at 6 pixels: that much comes back with it.

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
    return np.asarray(ndimage.gaussian_filter(limited, (0, sigma_px, sigma_px)), dtype=np.float32)


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
        As :func:`excess_noise` returns it.
    threshold_sd : float
        Local means beyond this many of their own standard deviations are no noise.

    Returns
    -------
    ndarray, shape (H, W), float32
        The local mean where it is beyond the threshold, 0 elsewhere, with a ramp of one standard deviation between.
    """
    mean = normalized_mean(removed_hw, noise_sd_hw, sigma_px)
    return np.asarray(beyond(mean, mean_sd, threshold_sd) * noise_sd_hw, dtype=np.float32)


def beyond(mean: NDArray[np.float32], mean_sd: float, threshold_sd: float) -> NDArray[np.float32]:
    """Return what of local means is too large for noise: all, where they are beyond the threshold by an sd or more.

    Parameters
    ----------
    mean : ndarray, float32
    mean_sd : float
        Standard deviation of such means of noise.
    threshold_sd : float
        In units of ``mean_sd``.
    """
    certain = np.clip(np.abs(mean) / max(mean_sd, 1e-6) - threshold_sd, 0.0, 1.0)
    return np.asarray(certain * mean, dtype=np.float32)
