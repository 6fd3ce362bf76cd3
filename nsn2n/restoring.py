# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a fit took away although it was not noise, and how it is given back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["removed_mean"]

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
