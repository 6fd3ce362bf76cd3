# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise power spectra, averaged over directions: the texture of the noise in the source and in what was removed."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Float32Array

__all__ = ["TILE_PX", "radial_spectrum", "tiles_with_least_structure"]

Float64Array = NDArray[np.float64]

TILE_PX = 32
"""Edge of the squares for the spectrum."""


def tiles_with_least_structure(
    difference_hw: Float32Array, usable: NDArray[np.bool_] | None = None, count: int = 16
) -> list[tuple[slice, slice]]:
    """Choose the squares of a difference of neighbors in which it is smallest, but not 0: there it is noise.

    Only squares of usable pixels, all by default; empty if there is no complete square.
    """
    rows, columns = difference_hw.shape
    tiles = [
        (slice(row, row + TILE_PX), slice(column, column + TILE_PX))
        for row in range(0, rows - TILE_PX + 1, TILE_PX)
        for column in range(0, columns - TILE_PX + 1, TILE_PX)
    ]
    if usable is not None:
        tiles = [tile for tile in tiles if usable[tile].all()]
    spread = [(float(difference_hw[tile].std()), index) for index, tile in enumerate(tiles)]
    present = sorted(entry for entry in spread if entry[0] > 0)
    # The smallest are air or padding: the middle of the lower half represents tissue.
    chosen = present[len(present) // 8 :][:count]
    return [tiles[index] for _, index in chosen]


def radial_spectrum(
    squares: Iterable[Float32Array], pixel_mm: tuple[float, float]
) -> tuple[Float64Array, Float64Array]:
    """Noise power spectrum of squares of noise, averaged over directions.

    The mean of ``|DFT(noise - its mean)|^2`` times the area of a pixel over the number of pixels (Siewerdsen et al.,
    Med. Phys. 29, 2002).

    Parameters
    ----------
    squares : iterable of ndarray, shape (TILE_PX, TILE_PX)
    pixel_mm : (row, column) spacing

    Returns
    -------
    ndarray, shape (n,)
        Frequencies, 1/mm.
    ndarray, shape (n,)
        Power, unit of the volume squared times mm^2; both empty if there is no square.
    """
    stacked = np.array(list(squares), dtype=np.float64)
    if not stacked.size:
        return np.empty(0), np.empty(0)
    stacked -= stacked.mean(axis=(1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(stacked))).mean(axis=0) * (math.prod(pixel_mm) / TILE_PX**2)
    rows, columns = (np.fft.fftfreq(TILE_PX, step) for step in pixel_mm)
    frequency = np.hypot(rows[:, None], columns)
    # Rings as wide as the coarser of the two steps, up to the highest frequency common to all directions.
    step = float(1.0 / (TILE_PX * min(pixel_mm)))
    ring = np.rint(frequency / step).astype(int)
    highest = int(0.5 / max(pixel_mm) / step)
    inside = (ring >= 1) & (ring <= highest)
    counts = np.bincount(ring[inside], minlength=highest + 1)[1:]
    means = np.bincount(ring[inside], power[inside], minlength=highest + 1)[1:] / np.maximum(counts, 1)
    frequencies = step * np.arange(1, highest + 1, dtype=np.float64)
    return frequencies[counts > 0], np.asarray(means[counts > 0], dtype=np.float64)
