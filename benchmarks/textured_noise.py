# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise with the spectrum of a CT kernel or with a measured spectrum, and the spectrum of residual noise.

Frequencies are in cycles per pixel.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from measures import noise_power_spectrum
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n.filters.block_transform import BLOCK_PX
from nsn2n.noise.level import measure_noise
from nsn2n.noise.spectrum import noise_spectrum

__all__ = ["Texture", "kernel_noise", "measured_power", "noise_of_spectrum", "texture"]

Volume = NDArray[np.float32]

CUTOFF = 0.22
NPS_ROI_PX = 32


def kernel_noise(shape: tuple[int, int, int], sd: float, seed: int) -> Volume:
    """Make noise of power f exp(-(f / 0.22)^2): ramp and apodization of filtered back-projection."""
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.fftfreq(shape[2]))
    return noise_of_spectrum(shape, frequency * np.exp(-np.square(frequency / CUTOFF)), sd, seed)


def noise_of_spectrum(shape: tuple[int, int, int], power: NDArray[np.floating], sd: float, seed: int) -> Volume:
    """Make Gaussian noise that is independent between slices.

    Parameters
    ----------
    shape : tuple of 3 int
        (D, H, W).
    power : ndarray, shape (H, W)
        Power at each frequency of a slice, in the order of `numpy.fft`, at any scale.
    sd : float
        Expected standard deviation.
    seed : int
    """
    gain = np.sqrt(power / power.mean())
    random = np.random.default_rng(seed)
    slices = (np.fft.ifft2(np.fft.fft2(random.standard_normal(shape[1:])) * gain).real for _ in range(shape[0]))
    return np.stack([np.asarray(sd * slice_hw, dtype=np.float32) for slice_hw in slices])


def measured_power(volume_dhw: Volume) -> NDArray[np.float64]:
    """Return the noise power as measured by nsn2n, shape (H, W), normalized to mean 1, in the order of `numpy.fft`."""
    power = noise_spectrum(volume_dhw, measure_noise(volume_dhw).floored, BLOCK_PX)
    # Coefficient k of a cosine transform of length n corresponds to k / 2n cycles per pixel.
    rows, columns = (2 * len(power) * np.abs(np.fft.fftfreq(size)) for size in volume_dhw.shape[1:])
    grid = np.meshgrid(rows, columns, indexing="ij")
    in_plane = ndimage.map_coordinates(power.astype(np.float64), grid, order=1, mode="nearest")
    return np.asarray(in_plane / in_plane.mean())


class Texture(NamedTuple):
    """Spectral location of the noise power, cycles per pixel."""

    peak: float
    """Frequency of the largest power, over rings."""
    mean: float
    """Mean frequency, weighted by the power."""


def texture(noise_dhw: Volume, where_dhw: NDArray[np.bool_]) -> Texture:
    """Return peak and mean frequency of noise, from squares of 32 pixels that lie entirely in a mask."""
    spectrum = noise_power_spectrum(noise_dhw, where_dhw, (1.0, 1.0), NPS_ROI_PX)
    if spectrum is None or not spectrum.power.any():
        return Texture(float("nan"), float("nan"))
    ring = np.rint(spectrum.frequency_per_mm * NPS_ROI_PX).astype(int).ravel()
    power = np.bincount(ring, spectrum.power.ravel()) / np.bincount(ring)
    return Texture(float(1 + np.argmax(power[1 : NPS_ROI_PX // 2 + 1])) / NPS_ROI_PX, spectrum.mean_frequency())
