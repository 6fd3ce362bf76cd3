# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Matched regions W_i: where two neighboring slices show the same tissue, so that one is a noisy twin of the other."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.restoration import denoise_nl_means

from nsn2n._aliases import Array, BoolArray, Float32Array
from nsn2n.arrays.planes import gaussian
from nsn2n.arrays.ranks import median
from nsn2n.noise.blocks import MAD_TO_SD, second_difference

__all__ = ["low_pass", "match_low_passed", "match_noisy", "smoothed_noise_gain"]


_NLM_PATCH_PX = 5
_NLM_DISTANCE_PX = 6
_NLM_STRENGTH_SD = 0.8
_MEDIAN_PX = 5
_STRUCTURE_SIGMA_PX = 4.0


def low_pass(slice_hw: Float32Array) -> Float32Array:
    """LPF of the paper: non-local means, then a 5x5 median. Used to compare neighbors only.

    Parameters
    ----------
    slice_hw : ndarray, shape (H, W), float32
        Intensities in [0, 1].

    Returns
    -------
    ndarray, shape (H, W), float32

    Notes
    -----
    Source: Zhou et al., arXiv 2411.10831; the 5x5 median from Cho and Yoo, arXiv 2606.23200, S1.3. Neither gives the
    parameters of the non-local means: here scikit-image's fast one, with a strength of 0.8 times the noise sd that the
    slice's second differences show.
    """
    sigma = float(np.median(np.abs(second_difference(slice_hw))) * MAD_TO_SD)
    if sigma == 0:  # Nothing to smooth, and the strength is a divisor.
        return np.asarray(ndimage.median_filter(slice_hw, size=_MEDIAN_PX, mode="reflect"), dtype=np.float32)
    smooth = denoise_nl_means(
        slice_hw,
        patch_size=_NLM_PATCH_PX,
        patch_distance=_NLM_DISTANCE_PX,
        h=_NLM_STRENGTH_SD * sigma,
        sigma=sigma,
        fast_mode=True,
    )
    return np.asarray(ndimage.median_filter(smooth, size=_MEDIAN_PX, mode="reflect"), dtype=np.float32)


def match_low_passed(filtered_hw: Float32Array, filtered_next_hw: Float32Array, tau: float) -> BoolArray:
    """W_i of the paper: ``|LPF(x_i) - LPF(x_{i+1})| <= tau``; shapes (H, W), intensities and tau in [0, 1]."""
    return np.asarray(np.abs(filtered_hw - filtered_next_hw) <= tau)


def smoothed_noise_gain(difference_hw: Array, smoothing_px: float) -> float:
    """Standard deviation that noise of unit sd keeps after the Gaussian, measured on the noise itself.

    Parameters
    ----------
    difference_hw : array, shape (H, W), float32
        Difference of two neighbors, divided by its noise sd.
    smoothing_px : float
        Standard deviation of the Gaussian, in pixels.

    Notes
    -----
    White noise would give a closed form; noise of a reconstruction is correlated in the plane and does not.
    """
    smooth = gaussian(difference_hw, smoothing_px)
    noise = smooth - gaussian(smooth, _STRUCTURE_SIGMA_PX)
    return float(median(abs(noise).reshape(-1)) * MAD_TO_SD)


def match_noisy(difference_hw: Array, smoothing_px: float, threshold_sd: float, gain: float) -> Array:
    """Compare two noisy neighbors by their difference in units of its noise.

    Parameters
    ----------
    difference_hw : array, shape (H, W), float32
        Difference of two neighbors, divided by its noise sd.
    smoothing_px, threshold_sd : float
        Gaussian, in pixels; largest difference, in sd of the smoothed noise.
    gain : float
        As returned by :func:`smoothed_noise_gain`.

    Returns
    -------
    array of that kind, shape (H, W), bool
        True where the difference can be noise alone.
    """
    return abs(gaussian(difference_hw, smoothing_px)) <= threshold_sd * gain
