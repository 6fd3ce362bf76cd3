# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How much noise is left follows from how much is left in a part, and from what was removed in both."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft

from nsn2n.noise.level import NoiseMap
from nsn2n.noise_left import carried_over, removed_noise

SHAPE, SD = (4, 96, 96), 5.0
NOISE = NoiseMap(np.full((1, 1, 1), SD, np.float32), np.full(SHAPE, SD, np.float32), SD)


def noise():
    return (SD * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)


def low_pass(volume, part):
    """Lower frequencies of each slice, so many that this part of white noise's power is in them."""
    spectrum = fft.dctn(volume, axes=(1, 2), norm="ortho")
    edge = round(np.sqrt(part) * SHAPE[1])
    spectrum[:, edge:], spectrum[:, :, edge:] = 0, 0
    return fft.idctn(spectrum, axes=(1, 2), norm="ortho").astype(np.float32)


@pytest.mark.parametrize(
    "left_of", [lambda noise, share: share * noise, lambda noise, share: low_pass(noise, share**2)]
)
@pytest.mark.parametrize(("here", "there"), [(0.6, 0.5), (0.5, 0.6), (0.7, 0.7)])
def test_what_is_left_elsewhere_is_found_for_both_kinds_of_filter(left_of, here, there):
    noisy = 100 + noise()
    removed = [removed_noise(noisy, 100 + left_of(noise(), share), NOISE, None, None) for share in (here, there)]

    assert carried_over(here, *removed) == pytest.approx(there, abs=0.03)


@pytest.mark.parametrize(
    ("left", "removed", "there"),
    [
        (0.4, 1.05, 1.02),
        (0.4, 0.3, 0.5),
        (0.9, 0.9, 0.5),
        (0.4, None, 0.5),
        (0.4, 0.8, None),
        (0.4, 0.8, 1.1),
        (0.2, 0.95, 0.99),
    ],
)
def test_where_no_filter_explains_it_the_part_speaks_for_all(left, removed, there):
    assert carried_over(left, removed, there) == left


def test_edges_air_and_what_is_no_measurement_do_not_count():
    truth = np.full(SHAPE, 100, np.float32)
    truth[:, :, 48:] = -1000
    noisy, denoised = truth + noise(), truth + noise() / 2
    denoised[:, :, 44:48] -= 300  # at the edge
    denoised[:, :, 80:] = noisy[:, :, 80:]  # in air
    valid = np.ones(SHAPE, bool)
    valid[:, :10] = False
    denoised[:, :10] -= 20

    assert removed_noise(noisy, denoised, NOISE, valid, -1000.0) == pytest.approx(0.5, abs=0.02)
    assert removed_noise(noisy, denoised, NOISE, np.zeros(SHAPE, bool), -1000.0) is None
