# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A brain with CT-like noise: the anatomy of the MR head, with the low contrast of a brain in HU.

The MR signal is mapped to HU (fluid 8, white matter 28, gray matter 38), slices are averaged to thick ones, and noise
with the spectrum of a soft kernel is added. Even seeds use the lower half of the slices, for tuning, odd ones the
upper half, for reporting.
"""

from __future__ import annotations

from typing import NamedTuple

import nibabel
import numpy as np
from cases import DATA
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["HEAD", "Brain", "make_brain", "make_overlapping_brain", "soft_kernel_noise"]

Volume = NDArray[np.float32]

HEAD = DATA / "mr-t1-head" / "t1.nii.gz"
MR_SIGNAL = (0.0, 0.12, 0.30, 0.45, 0.55, 0.75, 0.90, 1.30)
HU = (8.0, 8.0, 20.0, 38.0, 37.0, 28.0, 25.0, 20.0)
AIR_HU = -1000.0
HEAD_FROM = 0.12
ZOOM = 2
"""CT pixels per MR pixel, along each axis of the plane."""
MARGIN_PX = 24


class Brain(NamedTuple):
    """A case; arrays have the shape (D, H, W)."""

    truth: Volume
    noisy: Volume
    inside: NDArray[np.bool_]


def make_brain(thick_mm: int, noise_hu: float, seed: int, slices: int) -> Brain:
    """Make a case from the middle slices of the half that the seed selects, cropped to the brain."""
    volume = nibabel.as_closest_canonical(nibabel.load(HEAD)).get_fdata().astype(np.float32).transpose(2, 1, 0)[:, ::-1]
    volume = ndimage.gaussian_filter(volume / np.percentile(volume[volume > 0], 99.5), 0.5)
    head = ndimage.binary_fill_holes(ndimage.binary_closing(volume > HEAD_FROM, iterations=3))
    hu = np.where(head, np.interp(volume, MR_SIGNAL, HU), AIR_HU).astype(np.float32)
    inside = ndimage.binary_erosion(head, iterations=12)
    depth = len(hu) // thick_mm * thick_mm
    thick = (-1, thick_mm, *hu.shape[1:])
    truth, inside = hu[:depth].reshape(thick).mean(axis=1), inside[:depth].reshape(thick).all(axis=1)
    halves = np.array_split(np.flatnonzero(inside.sum(axis=(1, 2)) > 1500), 2)
    half = halves[seed % 2]
    first = max(0, (len(half) - slices) // 2)
    kept = half[first : first + slices]
    box = ndimage.find_objects(inside[kept].any(axis=0).astype(int))[0]
    rows, columns = (slice(max(0, end.start - MARGIN_PX // ZOOM), end.stop + MARGIN_PX // ZOOM) for end in box)
    truth = ndimage.zoom(truth[kept][:, rows, columns], (1, ZOOM, ZOOM), order=1).astype(np.float32)
    inside = np.kron(inside[kept][:, rows, columns], np.ones((1, ZOOM, ZOOM), bool))
    return Brain(truth, truth + soft_kernel_noise(truth.shape, noise_hu, seed), inside)


def make_overlapping_brain(noise_hu: float, seed: int, slices: int) -> Brain:
    """Make a case of slices of 2 mm every 1 mm, so that neighbors share half of their noise."""
    truth, noisy, inside = make_brain(1, noise_hu * 2**0.5, seed, slices + 1)
    of_both = (0.5 * (volume[1:] + volume[:-1]) for volume in (truth, noisy))
    return Brain(*of_both, inside[1:] & inside[:-1])


def soft_kernel_noise(shape: tuple[int, ...], sd: float, seed: int) -> Volume:
    """Make noise of the given sd, independent between slices, with the in-plane spectrum of a soft kernel."""
    white = np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)
    band = ndimage.gaussian_filter(white, (0, 1, 1)) - 0.7 * ndimage.gaussian_filter(white, (0, 3, 3))
    return np.asarray(band * (sd / band.std()), dtype=np.float32)
