# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated noise with a measured spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Float32Array
from nsn2n.noise.along_slices import INDEPENDENT, SliceCorrelation, root_along
from nsn2n.noise.spectrum import fourier_spectrum

__all__ = ["simulated_noise"]


def simulated_noise(
    shape_dhw: Sequence[int],
    power: Float32Array,
    seed: int,
    *,
    rises: bool = False,
    along: SliceCorrelation = INDEPENDENT,
) -> Float32Array:
    """Return normal noise of sd 1, shape (D, H, W), float32.

    Parameters
    ----------
    shape_dhw : sequence of 3 ints
    power : ndarray, shape (n, n), > 0
        Power at each frequency of the cosine transform of blocks of n x n pixels.
    seed : int
        0 or more; the same seed gives the same noise.
    rises : bool
        Whether its power rises from frequency 0, as of CT, where blocks do not tell.
    along : SliceCorrelation
        Correlation of slices; they are independent by default.
    """
    _, height, width = shape_dhw
    spectrum = fourier_spectrum(power, rises=rises)
    rows, columns = len(spectrum) * np.fft.fftfreq(height), len(spectrum) * np.fft.rfftfreq(width)
    places = np.meshgrid(rows, columns, indexing="ij")
    amplitude = np.sqrt(ndimage.map_coordinates(spectrum, places, order=1, mode="grid-wrap"))
    noise = np.random.default_rng(seed).standard_normal(shape_dhw, dtype=np.float32)
    for noise_hw in noise:
        noise_hw[...] = np.fft.irfft2(np.fft.rfft2(noise_hw) * amplitude, s=(height, width))
    if any(along):
        # Without BLAS, the order of whose additions depends on its threads.
        noise = np.einsum("ij,jhw->ihw", root_along(along, len(noise)), noise, optimize=False)
    noise /= noise.std()
    return noise
