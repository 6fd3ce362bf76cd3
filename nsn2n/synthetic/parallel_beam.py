# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Parallel-beam tomography of ellipses: exact projections and filtered back-projection.

Geometry: x runs along the columns and y along the rows of a slice, in mm from its center. A view at angle
theta has the detector coordinate t = x cos(theta) + y sin(theta); the views cover half a turn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["Ellipse", "Scanner", "centers_mm", "project", "reconstruct"]

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

# Filtered projections are refined by this factor with a Fourier interpolation, so that the back-projection
# may take the nearest sample: at most a sixteenth of a cell away.
_REFINEMENT = 8
# Pixels that are back-projected together: small enough for the processor's cache.
_BLOCK_PIXELS = 4096


@dataclass(frozen=True)
class Ellipse:
    """A homogeneous ellipse in one slice."""

    center_yx_mm: tuple[float, float]
    semi_axes_yx_mm: tuple[float, float]
    attenuation: float
    """Added inside the ellipse, per mm."""


@dataclass(frozen=True)
class Scanner:
    """The views, the detector and the reconstruction kernel of a scan."""

    views: int
    cells: int
    pitch_mm: float
    """Width of a detector cell, which is also the distance of two cells' centers."""
    cutoff_per_mm: float = 0.5
    """Spatial frequency (cycles per mm) at which the kernel's window reaches zero."""

    @property
    def angles(self) -> DoubleArray:
        """Angles of the views in radians, shape (views,)."""
        return np.linspace(0, np.pi, self.views, endpoint=False)

    @property
    def cell_centers_mm(self) -> DoubleArray:
        """Detector coordinate t of each cell's center, shape (cells,)."""
        return centers_mm(self.cells, self.pitch_mm)


def centers_mm(count: int, step_mm: float) -> DoubleArray:
    """Return the centers of equal cells in a row, with 0 in the middle of the row; shape (count,)."""
    centers: DoubleArray = np.arange(count, dtype=np.float64) * step_mm
    centers -= (count - 1) / 2 * step_mm
    return centers


def project(ellipses: list[Ellipse], scanner: Scanner) -> DoubleArray:
    """Line integrals of a sum of ellipses, averaged over each detector cell, in closed form.

    An ellipse with semi-axes a (x) and b (y) has, at distance s of its center's ray, the chord
    2 a b sqrt(r^2 - s^2) / r^2 with r^2 = a^2 cos^2(theta) + b^2 sin^2(theta); see Kak and Slaney,
    "Principles of Computerized Tomographic Imaging", Sec. 3.1. The mean over a cell comes from the chord's
    antiderivative.

    Parameters
    ----------
    ellipses : list of Ellipse
    scanner : Scanner

    Returns
    -------
    ndarray, shape (views, cells), float64
        Dimensionless.
    """
    sinogram = np.zeros((scanner.views, scanner.cells))
    cos, sin = np.cos(scanner.angles), np.sin(scanner.angles)
    borders = np.append(scanner.cell_centers_mm, scanner.cell_centers_mm[-1] + scanner.pitch_mm)
    borders -= scanner.pitch_mm / 2
    for ellipse in ellipses:
        (y, x), (b, a) = ellipse.center_yx_mm, ellipse.semi_axes_yx_mm
        radius = np.hypot(a * cos, b * sin)[:, None]
        # Beyond the ellipse the antiderivative is constant, so cells outside get nothing.
        u = np.clip((borders - (x * cos + y * sin)[:, None]) / radius, -1, 1)
        antiderivative = u * (np.pi / 2)
        inside = np.abs(u) < 1
        antiderivative[inside] = np.arcsin(u[inside]) + u[inside] * np.sqrt(1 - u[inside] ** 2)
        sinogram += (ellipse.attenuation * a * b / scanner.pitch_mm) * np.diff(antiderivative, axis=1)
    return sinogram


def reconstruct(sinograms: DoubleArray, scanner: Scanner, y_mm: DoubleArray, x_mm: DoubleArray) -> FloatArray:
    """Filtered back-projection of several sinograms of one scanner.

    The filter is a ramp with a raised-cosine window that ends at the scanner's cutoff: mild, as in a standard
    body kernel; it correlates the noise of pixels that lie close together.

    Parameters
    ----------
    sinograms : ndarray, shape (n, views, cells), float64
        Line integrals, dimensionless.
    scanner : Scanner
    y_mm, x_mm : ndarray, shape (h,) and (w,)
        Pixel centers; they must lie on the detector in each view.

    Returns
    -------
    ndarray, shape (n, h, w), float32
        Attenuation per mm.
    """
    filtered = _filter(sinograms, scanner)
    fine_pitch = scanner.pitch_mm / _REFINEMENT
    origin = scanner.cell_centers_mm[0]
    slices, width = sinograms.shape[0], x_mm.size
    image = np.zeros((y_mm.size, width, slices), np.float32)
    rows_per_block = max(1, _BLOCK_PIXELS // width)
    for top in range(0, y_mm.size, rows_per_block):
        rows = y_mm[top : top + rows_per_block, None]
        block = image[top : top + rows_per_block].reshape(-1, slices)
        samples = np.empty_like(block)
        for view, angle in enumerate(scanner.angles):
            t = x_mm * np.cos(angle) + rows * np.sin(angle)
            nearest = ((t - origin) / fine_pitch + 0.5).astype(np.intp)
            np.take(filtered[view], nearest.ravel(), axis=0, out=samples, mode="clip")
            block += samples
    image *= np.float32(np.pi / scanner.views)
    return np.moveaxis(image, 2, 0)


def _filter(sinograms: DoubleArray, scanner: Scanner) -> FloatArray:
    """Filter and refine; returns shape (views, cells * _REFINEMENT, n) for gathering rows of n values."""
    length = scipy.fft.next_fast_len(2 * scanner.cells, real=True)
    length += length % 2
    # The ramp as the transform of its sampled impulse response: sampled in frequency it would lose the mean.
    distance = np.minimum(np.arange(length), length - np.arange(length)).astype(float)
    response = np.zeros(length)
    odd = distance % 2 == 1
    response[odd] = -1 / (np.pi * distance[odd] * scanner.pitch_mm) ** 2
    response[0] = 1 / (2 * scanner.pitch_mm) ** 2
    frequency = scipy.fft.rfftfreq(length, scanner.pitch_mm)
    window = np.cos(np.pi / 2 * np.minimum(frequency / scanner.cutoff_per_mm, 1)) ** 2
    transfer = scipy.fft.rfft(response).real * scanner.pitch_mm * window
    transfer[-1] /= 2  # with more samples behind it, the Nyquist frequency counts once for each sign

    views = sinograms.transpose(1, 2, 0)
    filtered = np.empty((scanner.views, scanner.cells * _REFINEMENT, sinograms.shape[0]), np.float32)
    for view, lines in enumerate(views):
        spectrum = scipy.fft.rfft(lines, length, axis=0) * transfer[:, None]
        fine = scipy.fft.irfft(spectrum, length * _REFINEMENT, axis=0)
        filtered[view] = fine[: scanner.cells * _REFINEMENT] * _REFINEMENT
    return filtered
