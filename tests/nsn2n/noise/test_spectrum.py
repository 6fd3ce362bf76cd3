# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The spectrum is that of the noise, also where thick slices differ by anatomy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import fft, ndimage

from nsn2n.noise.simulated import simulated_noise
from nsn2n.noise.spectrum import (
    fourier_spectrum,
    noise_level,
    noise_power,
    noise_spectrum,
    of_mean_1,
    without_anatomy,
)

SD = 4.0
SHAPE = (8, 224, 224)


def even_noise(shape_hw):
    return lambda _: np.full(shape_hw, SD, np.float32)


def of_blocks(volume, block_px=8):
    """Mean power of all blocks, by its definition."""
    depth, height, width = volume.shape
    blocks = volume.reshape(depth, height // block_px, block_px, width // block_px, block_px).swapaxes(2, 3)
    return np.square(fft.dctn(blocks, axes=(-2, -1), norm="ortho")).mean(axis=(0, 1, 2))


@pytest.mark.parametrize("sigma_px", [0.0, 0.8])
def test_the_spectrum_is_that_of_the_noise(sigma_px):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((6, 256, 256)), (0, sigma_px, sigma_px))
    noise *= SD / noise.std()
    expected = of_mean_1(of_blocks(noise))
    volume = noise.copy()
    volume[:, 100:140, 100:] += 1000  # an edge
    volume[:, :, :64] = -1000  # clipped

    spectrum = noise_spectrum(volume.astype(np.float32), even_noise(volume.shape[1:]), 8)

    np.testing.assert_allclose(spectrum, expected, rtol=0.15, atol=0.01)


def test_the_spectrum_is_white_where_none_can_be_measured():
    spectrum = noise_spectrum(np.zeros((3, 32, 32), np.float32), even_noise((32, 32)), 8)

    np.testing.assert_array_equal(spectrum, np.ones((8, 8)))


@pytest.mark.parametrize("factor", [0.7, 1.0])
def test_the_power_tells_how_far_the_level_is_off(factor):
    noise = (factor * SD * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)

    power = noise_power(noise, even_noise(SHAPE[1:]), 8)

    assert power.mean() == pytest.approx(factor**2, rel=0.03)


def test_air_with_other_noise_does_not_count():
    random = np.random.default_rng(0)
    tissue = ndimage.gaussian_filter(random.standard_normal(SHAPE), (0, 0.8, 0.8))
    volume = (SD * random.standard_normal(SHAPE) - 1000).astype(np.float32)
    volume[:, :, :80] = 40 + SD * tissue[:, :, :80] / tissue.std()

    spectrum = of_mean_1(noise_power(volume, even_noise(SHAPE[1:]), 8, above=-900))

    np.testing.assert_allclose(spectrum, of_mean_1(of_blocks(tissue)), rtol=0.25, atol=0.05)


@pytest.mark.parametrize("factor", [0.8, 1.0, 1.25])
@pytest.mark.parametrize("amount", [0.0, 0.5])
def test_the_level_is_that_of_the_noise_where_slices_differ(factor, amount):
    noise = ct_noise(0.75, 0.2)
    spectrum = of_mean_1(noise_power(noise, even_noise(SHAPE[1:]), 8))
    differing = anatomy(amount)
    differing[:, :, 150:] = 0  # a part of the tissue is even

    level = noise_level(factor * noise + differing, even_noise(SHAPE[1:]), spectrum)

    assert 0.93 * factor < level < 1.02 * factor


def test_blocks_without_a_measurement_do_not_count():
    valid = np.hypot(*np.mgrid[-112:112, -112:112]) < 60  # a good part of the blocks lies at its border
    noise = np.where(valid, SD * white_noise(), 0)
    white = np.ones((8, 8), np.float32)

    without, with_mask = (
        noise_level(noise, even_noise(SHAPE[1:]), white, valid=mask) for mask in (None, np.broadcast_to(valid, SHAPE))
    )

    assert without < 0.9
    assert with_mask == pytest.approx(0.96, abs=0.03)


def test_the_level_stays_where_none_can_be_measured():
    assert noise_level(np.zeros((3, 32, 32), np.float32), even_noise((32, 32)), np.ones((8, 8), np.float32)) == 1


@pytest.mark.parametrize(("rise", "kernel"), [(0.5, 0.15), (0.75, 0.25), (1.0, 0.4)])
def test_low_frequencies_are_separated_that_a_block_mixes(rise, kernel):
    expected = of_mean_1(np.square(gain_of(rise, kernel, full=True)))
    power = noise_power(ct_noise(rise, kernel), even_noise(SHAPE[1:]), 8)

    found = fourier_spectrum(power, rises=True)

    lowest, low = (
        [np.hypot.outer(*[np.fft.fftfreq(len(of))] * 2) < below for of in (found, expected)] for below in (0.03, 0.1)
    )
    assert found[lowest[0]].mean() == pytest.approx(expected[lowest[1]].mean(), rel=0.5, abs=0.1)
    assert found[low[0]].mean() == pytest.approx(expected[low[1]].mean(), rel=0.2)


def test_white_noise_is_white():
    found = fourier_spectrum(noise_power(SD * white_noise(), even_noise(SHAPE[1:]), 8), rises=False)

    assert np.sqrt(np.square(found - 1).mean()) < 0.1


def white_noise(seed=0):
    return np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def gain_of(rise, kernel, *, full=False):
    """Of filtered back-projection at each frequency."""
    columns = np.fft.fftfreq(224) if full else np.fft.rfftfreq(224)
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], columns)
    return np.sqrt(frequency**rise) * np.exp(-0.5 * np.square(frequency / kernel))


def ct_noise(rise, kernel, seed=0):
    """Noise as of filtered back-projection."""
    gain = gain_of(rise, kernel)
    white = np.random.default_rng(seed).standard_normal(SHAPE)
    noise = np.fft.irfft2(np.fft.rfft2(white) * gain, s=SHAPE[1:])
    return (SD * noise / noise.std()).astype(np.float32)


def anatomy(amount, fall=3.0, seed=1):
    """What independent slices of a power law have, in noise sd."""
    frequency = np.hypot(np.fft.fftfreq(224)[:, None], np.fft.rfftfreq(224))
    frequency[0, 0] = np.inf
    white = np.random.default_rng(seed).standard_normal(SHAPE)
    field = np.fft.irfft2(np.fft.rfft2(white) * np.maximum(frequency, 1 / 60) ** (-fall / 2), s=SHAPE[1:])
    return (SD * amount * field / field.std()).astype(np.float32)


@pytest.mark.parametrize("rise", [0.6, 1.0])
@pytest.mark.parametrize("kernel", [0.15, 0.3])
@pytest.mark.parametrize("block_px", [4, 8])
def test_what_thick_slices_differ_by_is_left_out(rise, kernel, block_px):
    noise = ct_noise(rise, kernel)
    expected = of_blocks(noise / SD, block_px)
    measured = noise_power(noise + anatomy(0.5), even_noise(SHAPE[1:]), block_px)

    power = without_anatomy(measured, rises=True)

    error, error_before = (abs(np.log(of / expected))[0, 0] for of in (power, measured))
    assert error_before > 0.5
    assert error < 0.8 * error_before
    assert abs(power.mean() - 1) < 0.8 * abs(measured.mean() - 1)


@pytest.mark.parametrize(("rise", "kernel"), [(0.5, 0.15), (0.75, 0.25), (1.0, 0.4)])
def test_noise_alone_is_left_as_it_is(rise, kernel):
    measured = noise_power(ct_noise(rise, kernel), even_noise(SHAPE[1:]), 8)

    power = without_anatomy(measured, rises=True)

    # At frequency 0 the models are least like a block's power.
    assert power[0, 0] == pytest.approx(measured[0, 0], rel=0.3)
    np.testing.assert_allclose(power.ravel()[1:], measured.ravel()[1:], rtol=0.15, atol=0.01)
    assert power.mean() == pytest.approx(measured.mean(), rel=0.05)


def test_flat_noise_is_told_from_anatomy_and_left_as_it_is():
    white = (SD * np.random.default_rng(0).standard_normal(SHAPE)).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, (0, 0.7, 0.7))
    smooth *= SD / smooth.std()
    for noise in (white, smooth):
        alone, both = (noise_power(values, even_noise(SHAPE[1:]), 8) for values in (noise, noise + anatomy(0.5)))
        assert both[0, 0] > 1.5 * alone[0, 0]

        np.testing.assert_allclose(without_anatomy(alone, rises=False), alone, rtol=0.2, atol=0.02)
        assert without_anatomy(both, rises=False)[0, 0] == pytest.approx(alone[0, 0], rel=0.35)


def test_noise_simulated_from_it_has_it_again():
    power = without_anatomy(noise_power(ct_noise(0.75, 0.3), even_noise(SHAPE[1:]), 8), rises=True)

    again = noise_power(SD * simulated_noise(SHAPE, power, seed=3), even_noise(SHAPE[1:]), 8)

    np.testing.assert_allclose(again.ravel()[1:], power.ravel()[1:], rtol=0.3, atol=0.05 * power.max())
