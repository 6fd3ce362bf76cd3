# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Noise with power at the lowest frequencies is told from anatomy, which neighboring slices share in part."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from nsn2n.noise.low_frequencies import falls_as_noise
from nsn2n.noise.spectrum import noise_power, without_anatomy

SD = 20.0
SHAPE = (12, 160, 160)


def white(seed, sigma_px=0.0, shape=SHAPE):
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), (0, sigma_px, sigma_px))
    return (SD * noise / noise.std()).astype(np.float32)


def rising(seed):
    """Noise with little power at low frequencies, as of a soft kernel."""
    noise = white(seed, 1.0) - 0.7 * white(seed, 3.0) * 0.35
    return (SD * noise / noise.std()).astype(np.float32)


def anatomy(seed, shared, sd=SD):
    """Coarse structure of which neighboring slices share so much."""
    coarse = white(seed, 4.0)
    for index in range(1, len(coarse)):
        coarse[index] = shared * coarse[index - 1] + np.sqrt(1 - shared**2) * coarse[index]
    return coarse * np.float32(sd / coarse.std())


def judged(volume, **said):
    columns = np.linspace(-1, 1, volume.shape[2])
    estimate = SD * (1 + 0.1 * np.sin(30 * columns)) * np.ones(volume.shape[1:])

    def noise_sd(_):
        return in_kind(estimate.astype(np.float32))

    def in_kind(values):
        return values if isinstance(volume, np.ndarray) else torch.from_numpy(values)

    power = noise_power(volume, noise_sd, 8, **said)
    return falls_as_noise(volume, noise_sd, power, without_anatomy(power, rises=True), **said)


def cylinder(inside=40.0, outside=-1000.0):
    rows, columns = np.mgrid[-1 : 1 : SHAPE[1] * 1j, -1 : 1 : SHAPE[2] * 1j]
    return np.where(np.hypot(rows, columns) < 0.8, inside, outside).astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("sigma_px", [0.0, 0.7])
def test_white_noise_is_noise_also_where_it_was_smoothed(seed, sigma_px):
    assert judged(1000 + white(seed, sigma_px))
    assert judged(cylinder() + white(seed, sigma_px), above=-900.0)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shared", [0.2, 0.5])
def test_what_neighbors_share_is_anatomy(seed, shared):
    assert not judged(rising(seed) + anatomy(seed + 10, shared))
    assert not judged(white(seed) + anatomy(seed + 10, shared))


@pytest.mark.parametrize("sd", [10.0, 20.0, 30.0])
def test_so_far_apart_that_they_share_nothing_anatomy_is_told_by_its_form(sd):
    noise = rising(0)
    coarse = np.stack([anatomy(seed, 0.0, sd)[0] for seed in range(20, 20 + len(noise))])

    assert not judged(noise + coarse)


def test_of_noise_that_rises_there_is_nothing_to_tell():
    assert not judged(rising(0))


def test_with_few_blocks_it_may_be_anatomy():
    assert not judged(white(0, shape=(3, 48, 48)))


def test_what_holds_no_measurement_does_not_count():
    volume, valid = white(0), np.ones(SHAPE, bool)
    shared = np.zeros(SHAPE, np.float32)
    shared[:, 80:] = anatomy(1, 0.9)[:, 80:]
    valid[:, 80:] = False

    assert not judged(volume + shared)
    assert judged(volume + shared, valid=valid)


def test_tensors_are_judged_as_arrays():
    for volume in (white(0), white(0) + anatomy(1, 0.5)):
        assert judged(torch.from_numpy(volume)) == judged(volume)
