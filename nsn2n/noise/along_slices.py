# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What follows from noise that neighboring slices share: its power along the slices, and a simulation of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, linalg

from nsn2n._aliases import Float32Array

__all__ = ["INDEPENDENT", "SliceCorrelation", "power_along", "root_along"]

_LEAST_POWER = 0.02
"""Smallest power along the slices, of 1 on average: a measured correlation is not exact."""


class SliceCorrelation(NamedTuple):
    """Correlation of the noise of slices, each 0 to 0.9; 0 where it is below 0.1 or cannot be measured."""

    nearest: float = 0.0
    """Of neighboring slices."""
    second: float = 0.0
    """Of slices two apart."""


INDEPENDENT = SliceCorrelation()


def power_along(correlation: SliceCorrelation, slices: int) -> Float32Array:
    """Return the power of the noise at each frequency of a cosine transform along the slices.

    Parameters
    ----------
    correlation : SliceCorrelation
        From the second distance on it continues as a straight line, as that of overlapping slices.
    slices : int
        Slices that are transformed together.

    Returns
    -------
    ndarray, shape (slices,), float32
        Of mean 1; 1 at each frequency if nothing is shared.

    Notes
    -----
    Diagonal of C R C', with the matrix C of the transform and the covariance R of the slices.
    """
    if not any(correlation):
        return np.ones(slices, np.float32)
    cosines = fft.dct(np.eye(slices), axis=0, norm="ortho")
    power = np.diag(cosines @ _covariance(correlation, slices) @ cosines.T).clip(min=_LEAST_POWER)
    return np.asarray(power / power.mean(), dtype=np.float32)


def root_along(correlation: SliceCorrelation, slices: int) -> Float32Array:
    """Return the matrix that makes noise of that correlation from independent noise, shape (slices, slices), float32.

    Parameters are those of :func:`power_along`. It is the symmetric root of the covariance, so that the noise of each
    slice keeps its sd; a correlation that no noise can have becomes one that is possible.
    """
    values, vectors = linalg.eigh(_covariance(correlation, slices))
    root = vectors * np.sqrt(values.clip(min=0)) @ vectors.T
    return np.asarray(root / np.linalg.norm(root, axis=1, keepdims=True), dtype=np.float32)


def _covariance(correlation: SliceCorrelation, slices: int) -> NDArray[np.floating[Any]]:
    """Return the covariance of the noise of slices of sd 1, shape (slices, slices)."""
    row = [1.0, *correlation]
    while len(row) < slices:
        row.append(max(0.0, 2 * row[-1] - row[-2]) if correlation.second else 0.0)
    return np.asarray(linalg.toeplitz(row[:slices]))
