# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The measures of the benchmark, on arrays whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cases import make_case
from measures import MEASURES, measure, noise_power_spectrum, psnr, ssim, structure_removed
from scipy import ndimage

EVERYWHERE = np.ones((8, 128, 128), bool)


@pytest.fixture(scope="module")
def white():
    return np.random.default_rng(0).normal(0, 5, EVERYWHERE.shape).astype(np.float32)


def test_psnr_of_a_constant_error():
    truth = np.zeros((2, 4, 4), np.float32)
    assert psnr(truth + 0.1, truth) == pytest.approx(20)
    where = np.zeros(truth.shape, bool)
    where[0] = True
    assert psnr(truth + np.array([0.01, 1], np.float32)[:, None, None], truth, where) == pytest.approx(40)
    assert psnr(truth + 0.1, truth, data_range=10) == pytest.approx(40)
    assert psnr(truth, truth) == math.inf


def test_ssim_of_equal_and_of_even_volumes(white):
    assert ssim(white, white) == pytest.approx(1)
    # Wang et al. 2004: without variance it is (2 a b + c) / (a^2 + b^2 + c), c = (0.01 range)^2.
    ones = np.ones((2, 16, 16), np.float32)
    assert ssim(ones, 0.5 * ones) == pytest.approx((1 + 1e-4) / (1.25 + 1e-4), rel=1e-5)
    assert ssim(ones, 0.5 * ones, 100.0) == pytest.approx((1 + 1) / (1.25 + 1), rel=1e-5)


def test_white_noise_has_a_flat_spectrum_that_integrates_to_its_variance(white):
    pixel_mm = (0.5, 0.8)
    spectrum = noise_power_spectrum(white, EVERYWHERE, pixel_mm, 32)
    assert spectrum.power.sum() * spectrum.cell_per_mm2 == pytest.approx(25, rel=0.02)
    flat = 25 * 0.5 * 0.8
    low = spectrum.power[(spectrum.frequency_per_mm > 0) & (spectrum.frequency_per_mm < 0.3)]
    high = spectrum.power[spectrum.frequency_per_mm > 0.7]
    assert low.mean() == pytest.approx(flat, rel=0.1)
    assert high.mean() == pytest.approx(flat, rel=0.1)
    bands = [spectrum.band_sd(*band) for band in ((0, 0.2), (0.2, 0.6), (0.6, math.inf))]
    assert math.hypot(*bands) == pytest.approx(5, rel=0.01)


def test_smoothed_noise_has_a_lower_mean_frequency(white):
    smooth = ndimage.gaussian_filter(white, (0, 1.5, 1.5))
    sharp, blotchy = (noise_power_spectrum(noise, EVERYWHERE, (1, 1), 32) for noise in (white, smooth))
    assert blotchy.mean_frequency() < 0.5 * sharp.mean_frequency()


def test_spectrum_is_taken_from_the_mask_only(white):
    where = np.zeros_like(EVERYWHERE)
    where[:, :64, :64] = True
    outside = np.where(where, white, 1000 * white)
    spectrum = noise_power_spectrum(outside, where, (1, 1), 32)
    assert spectrum.power.sum() * spectrum.cell_per_mm2 == pytest.approx(25, rel=0.05)
    assert noise_power_spectrum(white, where[:, :, ::-1] & where, (1, 1), 32) is None


def test_no_structure_in_removed_noise_but_in_a_blurred_edge(white):
    truth = np.zeros(EVERYWHERE.shape, np.float32)
    truth[:, 40:90, 40:90] = 200
    noisy = truth + white
    assert structure_removed(noisy, truth) == pytest.approx(0, abs=0.01)
    blurred = ndimage.gaussian_filter(noisy, (0, 1, 1))
    assert structure_removed(noisy, blurred) > 0.5
    assert structure_removed(noisy, noisy) == 0


def test_only_the_slices_of_the_half_are_measured():
    case = make_case("ct-lowdose-quarter", "tiny", 1)
    assert case.measured == slice(12, 24)
    output = case.truth.copy()
    output[:12] += 1000
    assert measure(case, output)["psnr_tissue"] == math.inf
    output[12:] += 4
    found = measure(case, output)
    assert found["psnr_tissue"] == pytest.approx(40, abs=0.01)
    assert found["mean_error"] == pytest.approx(4, abs=1e-3)
    assert found["noise_sd"] == pytest.approx(0, abs=1e-3)


def test_harm_is_the_change_and_what_is_left_of_the_feature():
    case = make_case("checkerboard", "tiny", 1)
    found = measure(case, case.noisy)
    assert found["change_rms"] == found["change_max"] == 0
    assert found["feature_kept"] == pytest.approx(1, abs=0.01)
    half = measure(case, 0.5 * case.feature)
    assert half["feature_kept"] == pytest.approx(0.5)
    assert half["change_rms"] == pytest.approx(math.hypot(25, 20), rel=0.01)


def test_every_measure_has_a_name_in_the_list(white):
    case = make_case("ct-lowdose-quarter", "tiny", 0)
    assert set(measure(case, case.noisy, case.with_spots)) <= set(MEASURES)
