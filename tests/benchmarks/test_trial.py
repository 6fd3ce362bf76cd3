# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is measured of detail is what was done to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from textured_noise import kernel_noise, measured_power, noise_of_spectrum, texture
from trial import band, contrast_kept, detail_figures, filled

SHAPE = (4, 128, 128)
EVERYWHERE = np.ones(SHAPE, bool)


@pytest.fixture(scope="module")
def anatomy():
    """Truth with detail at all scales, and the same in noise."""
    white = np.random.default_rng(3).normal(0, 1, SHAPE)
    truth = 30 + sum(10 * sd * ndimage.gaussian_filter(white, (0, sd, sd)) for sd in (1, 2, 4))
    truth = truth.astype(np.float32)
    return truth, truth + kernel_noise(SHAPE, 10.0, 5)


def test_what_removes_only_noise_loses_nothing(anatomy):
    truth, noisy = anatomy
    ideal, untouched = (detail_figures(volume, noisy, truth, EVERYWHERE) for volume in (truth, noisy))

    assert ideal["rmse"] == ideal["left"] == 0
    assert ideal["detail %"] == pytest.approx(0, abs=3)
    assert untouched["rmse"] == pytest.approx(10, rel=0.02)
    assert untouched["detail %"] == untouched["fine %"] == 0


def test_detail_that_is_taken_is_seen(anatomy):
    truth, noisy = anatomy
    taken = 0.2 * band(truth, 6.0)

    assert detail_figures(noisy - taken, noisy, truth, EVERYWHERE)["detail %"] == pytest.approx(20, abs=0.1)


def test_a_gaussian_loses_what_its_transfer_says():
    """Of a wave of 12 pixels and an amplitude of 10 a Gaussian of 1.5 px passes exp(-2 (pi 1.5 / 12)^2)."""
    wave = 10 * np.sin(2 * np.pi * np.arange(120) / 12)
    truth = np.broadcast_to(wave, (2, 120, 120)).astype(np.float32)
    blurred = ndimage.gaussian_filter(truth, (0, 1.5, 1.5), mode="wrap", truncate=8)
    inside = np.zeros(truth.shape, bool)
    inside[:, :, 30:90] = True

    figures = detail_figures(blurred, truth, truth, inside)

    assert figures["detail %"] == pytest.approx(100 * (1 - np.exp(-2 * (np.pi * 1.5 / 12) ** 2)), rel=0.01)


def test_what_lies_outside_makes_no_detail_inside_where_it_is_bounded():
    truth = np.full((2, 96, 96), 30, np.float32)
    inside = np.zeros(truth.shape, bool)
    inside[:, 20:70, 20:70] = True
    truth[:, :15] = 1000

    assert np.abs(band(truth, 6.0)[inside]).max() > 50
    assert np.abs(band(filled(truth, inside), 6.0)[inside]).max() < 0.01


def test_contrast_of_two_places():
    truth = np.zeros((1, 8, 8), np.float32)
    truth[:, :4] = 10
    one, other = truth > 5, truth < 5

    assert contrast_kept(0.7 * truth + 3, truth, one, other) == pytest.approx(70)


def test_texture_of_kernel_noise_is_that_of_its_spectrum():
    """f exp(-(f / c)^2) has its peak at c / sqrt 2; in the plane the mean frequency is the ratio of two moments."""
    noise = kernel_noise((6, 256, 256), 20.0, 1)
    found = texture(noise, np.ones(noise.shape, bool))

    assert noise.std() == pytest.approx(20, rel=0.02)
    assert found.peak == pytest.approx(0.22 / np.sqrt(2), abs=1 / 32)
    assert found.mean == pytest.approx(0.22 * 2 / np.sqrt(np.pi), abs=0.01)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.05


def test_noise_that_was_measured_can_be_made_anew():
    first = kernel_noise((8, 192, 192), 10.0, 1)
    again = noise_of_spectrum(first.shape, measured_power(first), 10.0, 2)

    everywhere = np.ones(first.shape, bool)
    assert again.std() == pytest.approx(10, rel=0.03)
    assert texture(again, everywhere).mean == pytest.approx(texture(first, everywhere).mean, abs=0.02)
