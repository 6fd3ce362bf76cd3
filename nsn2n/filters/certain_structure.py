# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Gives back to a denoised volume what was removed where the noisy slices show a structure for certain.

Looked for is the structure itself, in the noisy slice beside its even surroundings, not what is left of it in what was
removed: of a structure that was weakened by a fifth, that fifth alone may be fainter than the noise.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy import ndimage

from nsn2n._aliases import Float32Array
from nsn2n.filters.removed_structure import excess_noise, normalized_mean, structure_share
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.stack.sampling import evenly_spread

__all__ = ["restore_certain_structure"]

_SIZE_PX = 1.0
"""Sd of the Gaussian under which means are taken: finer than this, what is given back is noise."""
_SURROUNDINGS_PX = 3.0
"""Sd of the Gaussian under which the denoised slice is the even surroundings."""
_CERTAIN_SD = 5.0
"""A structure is certain where its local mean is beyond this many standard deviations of such a mean of noise."""
_SAMPLE_SLICES = 16

NoiseOf = Callable[[int], Float32Array]


def restore_certain_structure(noisy_dhw: Float32Array, denoised_dhw: Float32Array, noise_sd: NoiseOf) -> None:
    """Add the local mean of what was removed where there is structure for certain, in place.

    Parameters
    ----------
    noisy_dhw : ndarray, shape (D, H, W), float32, finite
    denoised_dhw : ndarray, same shape and unit
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    """

    def mean_noise(index: int) -> float:
        return excess_noise(noisy_dhw[index] - denoised_dhw[index], noise_sd(index), _SIZE_PX)

    mean_sd = float(np.median(for_each_slice(mean_noise, evenly_spread(len(noisy_dhw), _SAMPLE_SLICES))))

    def restore(index: int) -> None:
        noisy, denoised, sd = noisy_dhw[index], denoised_dhw[index], noise_sd(index)
        structure = normalized_mean(noisy - ndimage.gaussian_filter(denoised, _SURROUNDINGS_PX), sd, _SIZE_PX)
        share = structure_share(structure, mean_sd, _CERTAIN_SD)
        denoised_dhw[index] += share * normalized_mean(noisy - denoised, sd, _SIZE_PX) * sd

    for_each_slice(restore, range(len(noisy_dhw)))
