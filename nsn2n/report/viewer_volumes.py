# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Packs the volumes of the viewer into NIfTI files that are small enough for a web page.

Source and result share one int16 step, which is far below the noise; what was removed is their difference,
which the page computes. In the files rows count upward, as in NIfTI, and slices are 1 mm apart: the viewer shows
one slice at a time, and its number is then the coordinate.
"""

from __future__ import annotations

import gzip
import struct
from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsn2n._aliases import Float32Array
from nsn2n.noise.blocks import BLOCK_PX

__all__ = ["LARGEST_VOXELS", "ViewerVolumes", "block_map", "pack_volumes"]

LARGEST_VOXELS = 128 * 512 * 512
"""Of longer series the page has every second, third ... slice: it would otherwise exceed 60 MB."""
STEPS_IN_NOISE = 8
"""Values are rounded to this fraction of the noise sd, which adds 0.1 % to the noise."""
_AUTO_PERCENTILES = (1.0, 99.7)
_DATATYPES = {"<i2": 4, "|u1": 2}
_LARGEST_STORED = 32000
"""Keeps the difference of two stored values within int16."""


@dataclass(frozen=True, kw_only=True)
class ViewerVolumes:
    """Both volumes as embedded in the page."""

    before: bytes
    """NIfTI-1, int16, gzip."""
    after: bytes
    slices: tuple[int, ...]
    """The slices of the series that are in the files, from 0."""
    step: float
    """Step between two values, in the unit of the series."""
    pixel_mm: tuple[float, float]
    """(row, column) spacing; 1 mm if it is not known."""
    auto_window: tuple[float, float]
    """From the 1st to the 99.7th percentile of the source, roughly."""


def pack_volumes(
    before_dhw: Float32Array,
    after_dhw: Float32Array,
    noise_sd: float,
    pixel_mm: tuple[float, float] | None,
    wanted: Collection[int] = (),
    *,
    largest_voxels: int = LARGEST_VOXELS,
) -> ViewerVolumes:
    """Pack source and result.

    Parameters
    ----------
    before_dhw, after_dhw : ndarray, shape (D, H, W)
        Values that are not finite are stored as the lowest value.
    noise_sd : float
        Noise sd of the source, in its unit; 0 if there is none.
    pixel_mm : (row, column), optional
        Spacing.
    wanted : collection of int
        Slices that are kept even in a long series.
    largest_voxels : int
        Limit for each volume, apart from the wanted slices.
    """
    depth, *shape_hw = before_dhw.shape
    every = -(-before_dhw.size // largest_voxels)
    slices = sorted({*range(0, depth, every), *wanted})
    limits = [_limits(volume[index]) for volume in (before_dhw, after_dhw) for index in slices]
    low, high = min(one[0] for one in limits), max(one[1] for one in limits)
    step = max(noise_sd / STEPS_IN_NOISE, (high - low) / _LARGEST_STORED) or 1.0
    row_mm, column_mm = pixel_mm or (1.0, 1.0)
    affine = np.diag([column_mm, row_mm, 1.0, 1.0])

    def packed(volume: Float32Array) -> bytes:
        stored = np.empty((len(slices), *shape_hw), np.int16)
        for place, index in enumerate(slices):
            values = np.nan_to_num(volume[index].astype(np.float64), nan=low, posinf=high, neginf=low)
            stored[place] = np.rint((values - low) / step)
        return _nifti(stored, affine, step, low)

    return ViewerVolumes(
        before=packed(before_dhw),
        after=packed(after_dhw),
        slices=tuple(slices),
        step=step,
        pixel_mm=(row_mm, column_mm),
        auto_window=_auto_window(before_dhw[slices[:: max(len(slices) // 16, 1)], ::4, ::4], step),
    )


def block_map(blocks_dhw: NDArray[np.floating], height: int, pixel_mm: tuple[float, float], highest: float) -> bytes:
    """Pack a map with one value for each square of `BLOCK_PX` pixels.

    Parameters
    ----------
    blocks_dhw : ndarray, shape (D, ceil(H / 16), ceil(W / 16))
        Not finite where there is no value.
    height : int
        Rows of the slices.
    pixel_mm : (row, column)
        Spacing of the slices.
    highest : float
        Stored as 255; 0 and less as 1. 0 is reserved for no value.

    Returns
    -------
    bytes
        NIfTI-1, uint8, gzip, aligned with the volumes of `pack_volumes`.
    """
    known = np.isfinite(blocks_dhw)
    scaled = np.where(known, blocks_dhw, 0) * (254 / highest)
    stored = np.where(known, 1 + np.rint(np.clip(scaled, 0, 254)), 0).astype(np.uint8)
    row_mm, column_mm = pixel_mm
    affine = np.diag([BLOCK_PX * column_mm, BLOCK_PX * row_mm, 1.0, 1.0])
    # Centers of the first column and of the last row of squares, which may reach beyond the last row of pixels.
    affine[0, 3] = (BLOCK_PX - 1) / 2 * column_mm
    affine[1, 3] = (height - BLOCK_PX * blocks_dhw.shape[1] + (BLOCK_PX - 1) / 2) * row_mm
    return _nifti(stored, affine, 1.0, 0.0)


def _limits(values_hw: Float32Array) -> tuple[float, float]:
    finite = values_hw[np.isfinite(values_hw)]
    return (float(finite.min()), float(finite.max())) if finite.size else (np.inf, -np.inf)


def _auto_window(sample: Float32Array, step: float) -> tuple[float, float]:
    finite = sample[np.isfinite(sample)]
    low, high = np.percentile(finite, _AUTO_PERCENTILES) if finite.size else (0.0, step)
    return float(low), max(float(high), float(low) + step)


def _nifti(stored_dhw: NDArray[np.integer], affine: NDArray[np.float64], slope: float, intercept: float) -> bytes:
    """Return single-file NIfTI-1 (nifti1.h); written here, since the container has no nibabel."""
    depth, height, width = stored_dhw.shape
    header = bytearray(352)
    for place, form, values in (
        (0, "i", [348]),  # sizeof_hdr
        (40, "8h", [3, width, height, depth, 1, 1, 1, 1]),  # dim
        (70, "2h", [_DATATYPES[stored_dhw.dtype.str], 8 * stored_dhw.itemsize]),  # datatype, bitpix
        (76, "8f", [1, *np.diag(affine)[:3], 0, 0, 0, 0]),  # pixdim
        (108, "3f", [352, slope, intercept]),  # vox_offset, scl_slope, scl_inter
        (123, "B", [2]),  # xyzt_units: mm
        (254, "h", [1]),  # sform_code: scanner
        (280, "12f", affine[:3].ravel()),  # srow_x, srow_y, srow_z
        (344, "4s", [b"n+1"]),  # magic
    ):
        struct.pack_into(f"<{form}", header, place, *values)
    return gzip.compress(bytes(header) + stored_dhw[:, ::-1].tobytes(), 6, mtime=0)
