# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Air is told from faint tissue by a wide mean; what is tissue stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.noise.no_signal import signal_shares
from nsn2n.noise.rician import rician_mean

SHAPE = (6, 48, 64)


def shares(signal, *, mottle=0.0, sd=3.0):
    """Of a mean magnitude of that signal, in units of the noise, with noise that was left in it."""
    mean = rician_mean(np.broadcast_to(np.asarray(signal, float), SHAPE))
    mean = mean + mottle * np.random.default_rng(0).standard_normal(SHAPE)
    volume = (sd * mean).astype(np.float32)
    return np.stack(list(signal_shares(volume, lambda _: np.full(SHAPE[1:], sd, np.float32))))


@pytest.mark.parametrize("sd", [0.01, 3.0])
def test_mottle_in_air_is_no_signal(sd):
    assert shares(0.0, mottle=0.08, sd=sd).max() == 0


def test_faint_tissue_is_signal():
    assert shares(0.9, mottle=0.05).mean() > 0.95


@pytest.mark.parametrize("signal", [1.6, 3.0, 100.0])
def test_tissue_stays(signal):
    np.testing.assert_array_equal(shares(signal), 1)


def test_air_beside_tissue_is_air_and_tissue_beside_air_is_tissue():
    signal = np.where(np.arange(64) < 32, 0.0, 10.0)

    found = shares(signal, mottle=0.1)

    assert found[:, :, :32].mean() < 0.01
    np.testing.assert_array_equal(found[:, :, 32:], 1)


def test_where_there_is_no_noise_all_stays():
    volume = np.ones(SHAPE, np.float32)

    assert all((share == 1).all() for share in signal_shares(volume, lambda _: np.zeros(SHAPE[1:], np.float32)))


def test_slices_may_be_overwritten_once_they_are_judged():
    volume = (3 * 1.2533 + 0.3 * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)
    sd = np.full(SHAPE[1:], 3.0, np.float32)
    expected = list(signal_shares(volume.copy(), lambda _: sd))

    for index, share in enumerate(signal_shares(volume, lambda _: sd)):
        np.testing.assert_array_equal(share, expected[index])
        volume[index] = 0
