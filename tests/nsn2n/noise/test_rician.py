# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The bias of magnitude MR: against closed forms and simulated noise."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.noise.level import estimate_noise
from nsn2n.noise.rician import channel_noise, rician_mean, rician_sd, without_bias


def magnitude(signal: np.ndarray, sd: float, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    real = signal + sd * random.standard_normal(signal.shape)
    return np.hypot(real, sd * random.standard_normal(signal.shape)).astype(np.float32)


def test_without_signal_the_magnitude_is_rayleigh_distributed() -> None:
    assert rician_mean(np.zeros(1))[0] == pytest.approx(np.sqrt(np.pi / 2))
    assert rician_sd(np.zeros(1))[0] == pytest.approx(np.sqrt(2 - np.pi / 2))


def test_a_strong_signal_has_the_bias_and_noise_of_a_gaussian() -> None:
    assert rician_mean(np.array([50.0]))[0] == pytest.approx(50 + 1 / 100, abs=1e-4)
    assert rician_sd(np.array([50.0]))[0] == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("signal", [0.0, 0.7, 2.0, 5.0])
def test_mean_and_sd_are_those_of_simulated_magnitudes(signal: float) -> None:
    samples = magnitude(np.full(400_000, signal), 1.0)
    assert rician_mean(np.array([signal]))[0] == pytest.approx(samples.mean(), abs=0.005)
    assert rician_sd(np.array([signal]))[0] == pytest.approx(samples.std(), abs=0.005)


@pytest.mark.parametrize("sd", [0.01, 3.0])
def test_the_signal_comes_back_from_its_mean_magnitude(sd: float) -> None:
    signal = np.array([[0.0, 0.5, 1.0, 3.0, 11.9, 12.1, 100.0]])
    mean = (rician_mean(signal) * sd).astype(np.float32)
    sd_hw = np.full(mean.shape, sd, np.float32)
    corrected = without_bias(mean, sd_hw, sd_hw)
    np.testing.assert_allclose(corrected / sd, signal, atol=0.01)


def test_less_than_the_mean_of_noise_alone_is_no_signal() -> None:
    noise = np.ones((1, 3), np.float32)
    corrected = without_bias(np.array([[0.0, 1.0, 1.25]], np.float32), noise, noise)
    np.testing.assert_array_equal(corrected, 0)


def test_where_there_is_no_noise_nothing_changes() -> None:
    values = np.array([[0.0, 1.0, 500.0]], np.float32)
    none = np.zeros((1, 3), np.float32)
    np.testing.assert_array_equal(without_bias(values, none, none), values)


@pytest.mark.parametrize("in_tissue", [5.0, 1.0, 0.8, 0.5])
def test_correction_never_raises_and_keeps_the_order(in_tissue: float) -> None:
    values = np.linspace(0, 20, 5001, dtype=np.float32)[None]
    corrected = without_bias(values, np.ones_like(values), np.full_like(values, in_tissue))
    assert (corrected <= values + 1e-4).all()
    assert (np.diff(corrected) >= -1e-4).all()


def test_the_noise_of_a_channel_is_found_where_there_is_signal_and_where_there_is_none() -> None:
    signal = np.zeros((8, 64, 96))
    signal[:, :, 48:] = 100.0
    noisy = magnitude(signal, 4.0)
    truth = np.where(signal > 0, np.hypot(signal, 4.0), 4.0 * np.sqrt(np.pi / 2)).astype(np.float32)
    blocks = estimate_noise(noisy)
    assert np.median(blocks[:, :, :2]) == pytest.approx(4.0 * 0.655, rel=0.1)
    channel = channel_noise(blocks, truth, blocks).blocks
    np.testing.assert_allclose(channel[:, :, :2], 4.0, rtol=0.15)
    np.testing.assert_allclose(channel[:, :, 4:], 4.0, rtol=0.15)


def test_noise_of_neighbors_that_differ_by_tissue_is_bounded_by_what_was_removed() -> None:
    too_high, removed = np.full((4, 4, 6), 6.0, np.float32), np.full((4, 4, 6), 3.6, np.float32)
    signal = np.full((4, 64, 96), 100.0, np.float32)
    signal[:, :, :48] = 5.0  # No tissue: what was removed does not tell the noise of a channel there.
    removed[:, :, :3] = 0.1
    assert channel_noise(too_high, signal, removed).in_tissue == pytest.approx(1.1 * 3.6 / 6.0, rel=0.01)
    assert channel_noise(too_high, signal, too_high).in_tissue == 1.0
    for same in ("blocks", "without_signal"):
        of_removed, of_noise = (getattr(channel_noise(too_high, signal, sd), same) for sd in (removed, too_high))
        np.testing.assert_array_equal(of_removed, of_noise)


def test_where_neighbors_differ_by_tissue_the_mean_of_air_nearby_bounds_the_noise_of_what_is_dim() -> None:
    too_high = np.full((4, 6, 9), 6.0, np.float32)
    mean = np.full((4, 96, 144), 100.0, np.float32)
    mean[:, :, 96:] = 1.25  # Air, whose noise is 1.
    mean[:, :48, 80:96] = 8.0  # Skin.
    channel = channel_noise(too_high, mean, too_high)
    np.testing.assert_array_equal(channel.without_signal[:, :, :4], channel.blocks[:, :, :4])
    assert (channel.without_signal[:, :, 4:] <= 1.31).all()
    assert (channel.blocks > 5.5).all()
    with_own_noise = channel_noise(np.full_like(too_high, 0.655), mean, too_high)
    np.testing.assert_array_equal(with_own_noise.without_signal, with_own_noise.blocks)


@pytest.mark.parametrize("masked_from", [32, 26])
def test_what_is_masked_does_not_bound_the_noise_next_to_it(masked_from: int) -> None:
    blocks = np.full((4, 3, 4), 5.0, np.float32)
    mean = np.full((4, 48, 64), 10.0, np.float32)
    blocks[:, :, 2:], mean[:, :, masked_from:] = 0, 0
    channel = channel_noise(blocks, mean, blocks)
    np.testing.assert_array_equal(channel.without_signal, channel.blocks)


def test_tissue_loses_the_mean_of_its_own_noise_and_the_background_that_of_all() -> None:
    values = np.array([[1.2, 1.9, 4.1, 11.0, 100.0]], np.float32)
    all_of_it, half = np.ones_like(values), np.full_like(values, 0.5)
    corrected = without_bias(values, all_of_it, half)
    np.testing.assert_array_equal(corrected[:, :2], without_bias(values, all_of_it, all_of_it)[:, :2])
    np.testing.assert_allclose(corrected[:, 2:], without_bias(values, half, half)[:, 2:])


def test_a_masked_background_has_no_noise() -> None:
    blocks = np.zeros((4, 2, 3), np.float32)
    blocks[:, :, 2] = 5.0
    channel = channel_noise(blocks, np.full((4, 20, 40), 100, np.float32), blocks).blocks
    np.testing.assert_array_equal(channel[:, :, :2], 0)
    np.testing.assert_allclose(channel[:, :, 2], 5.0, rtol=0.01)


@pytest.mark.parametrize(("mean", "expected"), [(1.05, 1.05), (1.2, 1.0), (0.9, 1.0)])
def test_in_air_the_mean_tells_the_noise_where_it_is_near_what_the_sd_tells(mean: float, expected: float) -> None:
    blocks = np.full((4, 3, 4), 5.0 * np.sqrt(2 - np.pi / 2), np.float32)
    air = np.full((4, 48, 64), 5.0 * np.sqrt(np.pi / 2) * mean, np.float32)

    np.testing.assert_allclose(channel_noise(blocks, air, blocks).blocks, 5.0 * expected, rtol=1e-3)
