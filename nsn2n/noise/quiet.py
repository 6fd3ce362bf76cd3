# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Air with far less noise than the body, as in PET.

Noise is measured in square blocks. In one that a body fills only in part it would be that of neither, and in a small
matrix many blocks of a body are such: so the two are measured separately. Only air is: differences of neighboring
slices are small in homogeneous tissue too, if there is hardly any noise, and large at structures.
"""

from __future__ import annotations

import numpy as np

from nsn2n._aliases import Array
from nsn2n.arrays.either import empty_like, namespace, stacked
from nsn2n.arrays.planes import gaussian
from nsn2n.arrays.ranks import median
from nsn2n.noise.blocks import BLOCK_PX, block_sd, second_difference
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stack.sampling import evenly_spread

__all__ = ["quiet_voxels"]

_SHARE = 0.2
"""Quiet is what has less than this fraction of the noise of the rest, which varies less within a body."""
_MEAN_PX = 2.0
"""Gaussian sd of the mean that shows how much noise there is around a voxel."""
_MEAN_TO_SD = 1.2533
"""Standard deviation of a normal distribution per mean absolute deviation."""
_SAMPLE_PAIRS = 16
_DARK = 0.1
"""Air is darker than this fraction of the way from the quiet voxels' median to that of the others."""
_MOST_OF_BODY = 0.1
"""If more than this fraction of the body is as quiet, its neighboring slices differ by structure, not by noise."""
_LEAST_EDGE_PX = 2 * BLOCK_PX
"""In smaller slices there are too few blocks to distinguish."""


def quiet_voxels(volume_dhw: Array, valid: Array | None = None) -> Array | None:
    """Return which voxels are quiet.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W), float32, finite
        D >= 2.
    valid : array, same shape, bool, optional
        Voxels that count; all by default.

    Returns
    -------
    array, shape (D, H, W), bool, or None
        None if there are none.
    """
    if min(volume_dhw.shape[1:]) < _LEAST_EDGE_PX:
        return None
    sampled = evenly_spread(len(volume_dhw) - 1, _SAMPLE_PAIRS)

    def sd_of(pair: int) -> Array:
        usable = None if valid is None else valid[pair] & valid[pair + 1]
        return block_sd(_fine_difference(volume_dhw, pair), usable)

    blocks = stacked(for_each_slice(sd_of, sampled)).astype(np.float64)
    # The mean weighted by itself: that of the body, however much air there is.
    limit = _SHARE * float((blocks**2).sum() / blocks.sum()) if blocks.any() else 0.0
    if blocks.min() >= limit:
        return None

    def counted(index: int) -> tuple[Array, Array]:
        """Whether the noise is low at the voxels of a slice that count, and their values, shape (n,)."""
        place = ... if valid is None else valid[index]
        return _low_in_noise(volume_dhw, index, limit)[place].reshape(-1), volume_dhw[index][place].reshape(-1)

    def levels(index: int) -> tuple[float | None, float | None]:
        low, values = counted(index)
        air, body = (float(median(values[part])) if bool(part.any()) else None for part in (low, ~low))
        return air, body

    in_air, in_body = zip(*for_each_slice(levels, sampled), strict=True)
    air, body = (np.median([level for level in known if level is not None] or [0.0]) for known in (in_air, in_body))
    darkest = float(air + _DARK * (body - air))

    def in_bright(index: int) -> tuple[int, int]:
        low, values = counted(index)
        return int((low & (values >= darkest)).sum()), int((values >= darkest).sum())

    low, bright = np.sum(for_each_slice(in_bright, sampled), axis=0)
    if air >= body or low > _MOST_OF_BODY * bright:
        return None

    quiet = empty_like(volume_dhw, dtype=namespace(volume_dhw).bool)

    def fill_slice(index: int) -> None:
        quiet[index] = _low_in_noise(volume_dhw, index, limit) & (gaussian(volume_dhw[index], _MEAN_PX) < darkest)

    for_each_slice(fill_slice, range(len(volume_dhw)))
    return quiet


def _fine_difference(volume_dhw: Array, pair: int) -> Array:
    return second_difference(volume_dhw[pair + 1] - volume_dhw[pair])


def _low_in_noise(volume_dhw: Array, index: int, limit: float) -> Array:
    """Return where neighbors of a slice differ by less than the limit, in sd of the second difference."""
    pairs = [pair for pair in (index - 1, index) if 0 <= pair < len(volume_dhw) - 1]
    means = [gaussian(abs(_fine_difference(volume_dhw, pair)), _MEAN_PX) for pair in pairs]
    return sum(means) * (_MEAN_TO_SD / len(means)) < limit
