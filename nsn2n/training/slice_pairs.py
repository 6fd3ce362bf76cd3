# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Matched regions of all pairs of neighbors in a volume, pair by pair (:mod:`nsn2n.training.matching` compares one)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nsn2n._aliases import Array, BoolArray, Float32Array
from nsn2n.arrays.either import empty_like, namespace
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.runtime.volumes import new_volume
from nsn2n.settings import MatchSettings
from nsn2n.stack.sampling import evenly_spread
from nsn2n.training.matching import low_pass, match_low_passed, match_noisy, smoothed_noise_gain

__all__ = ["pairs_by_low_pass", "pairs_by_noise"]


_GAIN_PAIRS = 16
"""Pairs on which the gain of the smoothing is measured."""


def pairs_by_noise(volume_dhw: Array, noise: NoiseMap, settings: MatchSettings, distance: int = 1) -> Array:
    """Return where the difference of noisy slices at a distance can be noise alone, shape (D - distance, H, W)."""
    pairs = len(volume_dhw) - distance

    xp = namespace(volume_dhw)

    def normalized(index: int) -> Array:
        pair_sd = xp.hypot(noise.floored(index), noise.floored(index + distance))
        return (volume_dhw[index + distance] - volume_dhw[index]) / pair_sd

    sample = evenly_spread(pairs, _GAIN_PAIRS)
    gains = for_each_slice(lambda index: smoothed_noise_gain(normalized(index), settings.smoothing_px), sample)
    gain = float(np.median(gains))
    matched = empty_like(volume_dhw[:pairs], xp.bool)

    def match(index: int) -> None:
        matched[index] = match_noisy(normalized(index), settings.smoothing_px, settings.threshold_sd, gain)

    for_each_slice(match, range(pairs))
    return matched


def pairs_by_low_pass(volume_dhw: Float32Array, low: float, high: float, tau: float) -> BoolArray:
    """W_i of the paper for a volume of values from ``low`` to ``high``, shape (D - 1, H, W)."""
    matched = new_volume((len(volume_dhw) - 1, *volume_dhw.shape[1:]), bool)
    filtered = (low_pass(np.asarray((slice_hw - low) / (high - low), dtype=np.float32)) for slice_hw in volume_dhw)
    for index, (current, following) in enumerate(pairwise(filtered)):
        matched[index] = match_low_passed(current, following, tau)
    return matched
