# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A case of anatomy.py: volumes to denoise, how their results are measured, and what pictures show of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["DETAIL_PX", "FINE_PX", "Trial", "View", "band", "contrast_kept", "detail_figures", "filled", "share"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

DETAIL_PX, FINE_PX = 6.0, 2.5
"""Detail is the image minus its Gaussian mean of this sd."""


class View(NamedTuple):
    """What pictures show of a trial."""

    window: tuple[float, float]
    """Values shown as black and as white."""
    index: int
    """Index of the slice."""
    rows: slice = slice(None)
    columns: slice = slice(None)
    volume: int = 0
    """Index of the volume among those of the trial."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One input, or several of one kind."""

    name: str
    noisy: tuple[Volume, ...]
    """Each of shape (D, H, W)."""
    truth: tuple[Volume, ...]
    measure: Callable[[Sequence[Volume]], dict[str, float]]
    """Measures of the denoised volumes; the names are columns."""
    view: View
    spacing_mm: tuple[float, float, float]
    modality: Literal["CT", "MR", "PT"] = "CT"
    scan: bool = False
    """The truth contains noise of its own, so it is not measured as a result."""
    rank: str = "rmse"
    """Measure by which the best peer is chosen, the one with the lowest value"""
    highest: bool = False
    """or, if true, the highest."""
    tuned_as: str = ""
    """Case whose tuned settings peers use; if empty, this case."""


def band(image: Volume, finer_px: float, coarser_px: float = 0.0) -> Volume:
    """Return the image minus its mean of ``finer_px``, without structure finer than ``coarser_px``."""

    def mean(sd: float) -> Volume:
        return np.asarray(ndimage.gaussian_filter(image, (0, sd, sd)))

    return np.asarray((mean(coarser_px) if coarser_px else image) - mean(finer_px))


def filled(image: Volume, inside: Mask) -> Volume:
    """Return an image with everything outside a mask replaced by the Gaussian mean of what is inside."""
    reach = (0, DETAIL_PX, DETAIL_PX)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), reach)
    sums = ndimage.gaussian_filter(np.where(inside, image, 0), reach)
    mean = np.divide(sums, weight, out=np.zeros_like(sums), where=weight > 1e-6)
    return np.asarray(np.where(inside, image, mean), dtype=np.float32)


def share(values: Volume, of: Volume) -> float:
    """Return the regression coefficient of one array on the other, over all elements."""
    a, b = (array.astype(np.float64).ravel() for array in (values, of))
    square = float(b @ b)
    return float(a @ b) / square if square else 0.0


def contrast_kept(result: Volume, truth: Volume, one: Mask, other: Mask) -> float:
    """Return the percentage kept of the difference between the means of two regions."""
    left, was = (float(volume[one].mean() - volume[other].mean()) for volume in (result, truth))
    return 100 * left / was


def detail_figures(
    result: Volume, noisy: Volume, truth: Volume, inside: Mask, coarser_px: float = 0.0, *, bounded: bool = False
) -> dict[str, float]:
    """Return rmse, loss of detail and of fine detail in percent, and residual noise.

    Loss is the regression of what was removed on the detail of the truth: noise is independent of that detail, so 0
    means that only noise was removed. Residual noise is the standard deviation of the error that regression on the
    detail does not explain.

    Parameters
    ----------
    result, noisy, truth : ndarray, shape (D, H, W)
    inside : ndarray, same shape, bool
        Where to measure.
    coarser_px : float
        If more than 0, detail is also limited to structure coarser than this, and fine detail is not measured: for a
        truth that has noise of its own.
    bounded : bool
        Exclude what lies outside the mask, such as bone, from the detail inside.
    """
    error, removed = (result - truth)[inside], (noisy - result)[inside]
    anatomy = filled(truth, inside) if bounded else truth
    detail = band(anatomy, DETAIL_PX, coarser_px)[inside]
    figures = {"rmse": float(np.sqrt(np.square(error, dtype=np.float64).mean()))}
    figures["detail %"] = 100 * share(removed, detail)
    if not coarser_px:
        figures["fine %"] = 100 * share(removed, band(anatomy, FINE_PX)[inside])
    figures["left"] = float((error - share(error, detail) * detail).std(dtype=np.float64))
    return figures
