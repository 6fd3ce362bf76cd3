# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Whether what a spectrum has too much of at its lowest frequencies is noise.

Noise of CT has little power there, and anatomy by which thick slices differ has much (:mod:`nsn2n.noise.spectrum`). But
noise of resampled or smoothed series, and white noise, has too. Such a spectrum has the form of flat noise, without a
part that falls; and of anatomy neighbors share a part, unless they are far apart.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import fft

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import double, in_memory_of, namespace, total
from nsn2n.noise.spectrum import blocks_of_slice, misfit, noise_alone
from nsn2n.stack.sampling import evenly_spread

__all__ = ["falls_as_noise"]

_ORDERS = ((0, 1), (1, 0), (1, 1))
"""Lowest frequencies of a block, along rows and columns, without the mean."""
_LEAST_SHARE = 0.1
"""Of the power there: less of it does not matter."""
_NONE_SD, _SURE = 2.5, 0.2
"""A correlation is none up to the first, in standard errors; one such error must be below the second, times that share,
as with few blocks that of anatomy would not be seen either."""
_BETTER, _ALONE = 0.75, 0.9
"""The misfit of flat noise is at most so many times that of noise that rises, and a part that falls does not lower it
below the second times itself."""
_EDGE = 4.0
"""Variance of a block, over that of its noise, from which it contains an edge, which says nothing of noise."""
_SAMPLE_SLICES = 48


def falls_as_noise(
    noisy_dhw: Array,
    noise_sd: Callable[[int], Array],
    power: Float32Array,
    rising: Float32Array,
    *,
    valid: Array | None = None,
    above: float | None = None,
) -> bool:
    """Return whether the power beyond that of noise which rises from frequency 0 is that of noise, too.

    Parameters
    ----------
    noisy_dhw, noise_sd, valid, above :
        As of :func:`nsn2n.noise.spectrum.noise_power`.
    power, rising : ndarray, shape (n, n)
        Of differences of neighbors, and the part of it that rises (:func:`nsn2n.noise.spectrum.without_anatomy`).
    """
    of_lowest, of_rising = (sum(float(values[order]) for order in _ORDERS) for values in (power, rising))
    share = 1 - of_rising / of_lowest if of_lowest else 0.0
    if share < _LEAST_SHARE or not _has_form_of_flat_noise(power):
        return False
    correlation, count = _correlation(noisy_dhw, noise_sd, len(power), valid, above)
    error = 1 / math.sqrt(count) if count else math.inf
    return error < _SURE * share and correlation < _NONE_SD * error


def _has_form_of_flat_noise(power: Float32Array) -> bool:
    flat = misfit(power, rises=False, anatomy=False)
    return flat < _BETTER * misfit(power, rises=True, anatomy=False) and (
        misfit(power, rises=False, anatomy=True) > _ALONE * flat
    )


def _correlation(
    noisy_dhw: Array, noise_sd: Callable[[int], Array], block_px: int, valid: Array | None, above: float | None
) -> tuple[float, int]:
    """Correlation of the lowest frequencies of blocks with those of the next slice, and their number."""
    cosines = fft.dct(np.eye(block_px), axis=0, norm="ortho")
    basis = np.stack([np.outer(cosines[row], cosines[column]) for row, column in _ORDERS]).astype(np.float32)
    lowest = in_memory_of(basis.reshape(len(_ORDERS), -1), noisy_dhw)
    xp = namespace(noisy_dhw)
    powers, variances, means, whole, before, after = [], [], [], [], [], []
    for index in evenly_spread(len(noisy_dhw) - 1, _SAMPLE_SLICES):
        first, second = (_in_noise(noisy_dhw[of], noise_sd(of), block_px) for of in (index, index + 1))
        powers.append(0.5 * ((second - first) ** 2).mean(1))
        variances.append(xp.maximum(_variance(first), _variance(second)))
        means.append(blocks_of_slice(0.5 * (noisy_dhw[index + 1] + noisy_dhw[index]), block_px).mean((1, 2)))
        if valid is not None:
            whole.append(blocks_of_slice(valid[index + 1] & valid[index], block_px).all(-1).all(-1))
        before.append((first[:, None] * lowest).sum(-1))
        after.append((second[:, None] * lowest).sum(-1))
    alone = noise_alone(xp.concatenate(powers), xp.concatenate(means), xp.concatenate(whole) if whole else None, above)
    alone &= xp.concatenate(variances) < _EDGE
    one, other = (double(xp.concatenate(coefficients)[alone]) for coefficients in (before, after))
    squares = 0.5 * total(one**2 + other**2)
    return (total(one * other) / squares if squares else 0.0), math.prod(one.shape)


def _in_noise(slice_hw: Array, noise_sd_hw: Array, block_px: int) -> Array:
    """Blocks in units of their mean noise sd, shape (blocks, n * n).

    Not each voxel in units of its own, which neighbors share: a large mean would become a shared pattern.
    """
    blocks, sd = (blocks_of_slice(image, block_px).reshape(-1, block_px**2) for image in (slice_hw, noise_sd_hw))
    return blocks / sd.mean(1)[:, None]


def _variance(blocks: Array) -> Array:
    """Of each block, shape (blocks,), without a library's choice of degrees of freedom."""
    return ((blocks - blocks.mean(1)[:, None]) ** 2).mean(1)
