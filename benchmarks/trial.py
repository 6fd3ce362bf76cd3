# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a case of anatomy.py is: volumes to denoise, how their results are measured, and what is shown of them."""

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
"""Detail is what an image has beyond its Gaussian mean of this sd."""


class View(NamedTuple):
    """What pictures show of a trial."""

    window: tuple[float, float]
    """Values shown as black and as white."""
    index: int
    """Of the slice."""
    rows: slice = slice(None)
    columns: slice = slice(None)
    volume: int = 0
    """Of the volumes of the trial."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One input, or several of one kind."""

    name: str
    noisy: tuple[Volume, ...]
    """Each of shape (D, H, W)."""
    truth: tuple[Volume, ...]
    measure: Callable[[Sequence[Volume]], dict[str, float]]
    """Of the denoised volumes; the names are columns."""
    view: View
    spacing_mm: tuple[float, float, float]
    modality: Literal["CT", "MR", "PT"] = "CT"
    scan: bool = False
    """The truth has noise of its own, so that it is no result to be measured."""
    rank: str = "rmse"
    """The measure that says which peer is best: the one with the least,"""
    highest: bool = False
    """or the most."""
    tuned_as: str = ""
    """The case whose tuned settings peers take: this one unless given."""


def band(image: Volume, finer_px: float, coarser_px: float = 0.0) -> Volume:
    """Return what an image has beyond its mean of ``finer_px``, without what is finer than ``coarser_px``."""

    def mean(sd: float) -> Volume:
        return np.asarray(ndimage.gaussian_filter(image, (0, sd, sd)))

    return np.asarray((mean(coarser_px) if coarser_px else image) - mean(finer_px))


def filled(image: Volume, inside: Mask) -> Volume:
    """Return an image with the Gaussian mean of what lies in a mask in place of what lies outside of it."""
    reach = (0, DETAIL_PX, DETAIL_PX)
    weight = ndimage.gaussian_filter(inside.astype(np.float32), reach)
    sums = ndimage.gaussian_filter(np.where(inside, image, 0), reach)
    mean = np.divide(sums, weight, out=np.zeros_like(sums), where=weight > 1e-6)
    return np.asarray(np.where(inside, image, mean), dtype=np.float32)


def share(values: Volume, of: Volume) -> float:
    """Regression of one on the other, over all elements."""
    a, b = (array.astype(np.float64).ravel() for array in (values, of))
    square = float(b @ b)
    return float(a @ b) / square if square else 0.0


def contrast_kept(result: Volume, truth: Volume, one: Mask, other: Mask) -> float:
    """Percent left of the difference of the means of two places."""
    left, was = (float(volume[one].mean() - volume[other].mean()) for volume in (result, truth))
    return 100 * left / was


def detail_figures(
    result: Volume, noisy: Volume, truth: Volume, inside: Mask, coarser_px: float = 0.0, *, bounded: bool = False
) -> dict[str, float]:
    """Return rmse, percent of detail and of fine detail that was lost, and the noise that is left.

    Lost is what was removed, regressed on the detail of the truth: noise knows nothing of it, so that 0 means that only
    noise was removed. Left is the standard deviation of the error that no regression on the detail explains.

    Parameters
    ----------
    result, noisy, truth : ndarray, shape (D, H, W)
    inside : ndarray, same shape, bool
        Where to measure.
    coarser_px : float
        With more than 0, detail is what is also coarser than this, and there is no fine detail: for a truth that has
        noise of its own.
    bounded : bool
        What lies outside of the mask, such as bone, makes no detail inside.
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
