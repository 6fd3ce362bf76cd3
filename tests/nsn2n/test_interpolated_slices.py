# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""MR slices that were interpolated by zero filling are denoised on the grid on which they were acquired."""

from __future__ import annotations

import logging

import numpy as np
import pytest
from scipy import ndimage, signal

from nsn2n.denoising import denoise

ACQUIRED = (8, 96, 96)
STORED = (8, 192, 192)
SD = 0.05
BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}


def interpolated(channel):
    for axis in (1, 2):
        channel = signal.resample(channel, STORED[axis], axis=axis)
    return channel


@pytest.fixture(scope="module")
def truth():
    """A body with an insert and faint folds, as acquired and interpolated."""
    z, y, x = np.indices(ACQUIRED, dtype=np.float32)
    body = (np.hypot(y - 47, x - 48) < 40).astype(np.float32)
    signals = 0.8 * body - 0.3 * (np.hypot(y - 40 - z, x - 50) < 12)
    signals += 0.1 * body * np.sin((x + 6 * np.sin(y / 11) + 0.3 * z) / 2.5)
    return np.abs(interpolated(ndimage.gaussian_filter(signals, (0, 0.7, 0.7)))).astype(np.float32)


@pytest.fixture(scope="module")
def noisy(truth):
    noise = SD * np.random.default_rng(0).standard_normal((2, *ACQUIRED))
    return np.hypot(truth + interpolated(noise[0]), interpolated(noise[1])).astype(np.float32)


@pytest.fixture(scope="module")
def denoised(noisy):
    return denoise(noisy, modality="MR", spacing_mm=(2.0, 0.5, 0.5), device="cpu")


def brief(volume, **arguments):
    return denoise(volume, modality="MR", device="cpu", **{"config": BRIEF, **arguments})


def test_noise_falls_in_tissue_and_in_air(truth, noisy, denoised):
    def error(volume, where):
        return np.sqrt(np.square(volume - truth)[where].mean())

    tissue, air = truth > 0.4, truth < 0.01
    assert error(denoised.volume, tissue) < 0.65 * error(noisy, tissue)
    assert error(denoised.volume, air) < 0.6 * error(noisy, air)
    assert denoised.structure.verdict == "pass"
    assert denoised.measured.noise_left == pytest.approx(
        error(denoised.volume, tissue) / error(noisy, tissue), rel=0.25
    )


def test_as_stored_hardly_any_falls(truth, noisy):
    """Which is why there is a grid: neighboring pixels share the noise."""
    as_stored = denoise(noisy, modality="MR", device="cpu", config={"acquired_grid": "none"})
    tissue = truth > 0.4

    assert np.std((as_stored.volume - truth)[tissue]) > 0.8 * np.std((noisy - truth)[tissue])
    assert as_stored.measured.acquired_rows is None


def test_all_that_comes_back_is_that_of_the_stored_slices(noisy, denoised):
    assert denoised.volume.shape == denoised.noise_sd.shape == STORED
    assert denoised.volume.dtype == np.float32
    assert denoised.structure.excess_hw.shape == STORED[1:]
    assert denoised.volume.min() >= noisy.min()
    assert denoised.measured.rms_change == pytest.approx(np.sqrt(np.square(denoised.volume - noisy).mean()), rel=1e-4)
    assert np.median(denoised.noise_sd[noisy > 0.4]) == pytest.approx(SD, rel=0.25)


def test_the_grid_is_recorded_and_said(noisy, denoised, caplog):
    with caplog.at_level(logging.INFO, logger="nsn2n"):
        result = brief(noisy)

    for measured in (denoised.measured, result.measured):
        assert measured.acquired_rows == pytest.approx(96, abs=2)
        assert measured.acquired_columns == pytest.approx(96, abs=2)
    assert "slices were interpolated from about" in caplog.text
    assert f"denoised on a grid of {result.measured.acquired_rows} x " in result.summary()


def test_what_is_not_on_the_acquired_grid_stays_where_there_is_signal(truth, noisy):
    """Single pixels that were marked after the interpolation."""
    places = np.random.default_rng(1).choice(np.flatnonzero(truth > 0.5), 100, replace=False)
    marked = noisy.copy()
    marked.ravel()[places] += 20 * SD

    change = (brief(marked).volume - brief(noisy).volume).ravel()[places]

    assert np.mean(change) == pytest.approx(20 * SD, rel=0.05)
    assert change.min() > 0.7 * 20 * SD


def test_no_voxel_changes_beyond_the_limit_between_acquired_pixels_either(truth):
    spikes = np.zeros(ACQUIRED, np.float32)
    spikes[:, 20:80:10, 20:80:10] = spikes[:, 20:80:10, 21:80:10] = 40 * SD
    noise = SD * np.random.default_rng(0).standard_normal((2, *ACQUIRED))
    noisy = np.hypot(truth + interpolated(noise[0] + spikes), interpolated(noise[1])).astype(np.float32)

    result = brief(noisy, config={**BRIEF, "largest_change_sd": 2.0, "rician": False})

    change = np.abs(result.volume - noisy) / result.noise_sd
    assert result.measured.acquired_rows
    assert 1.9 < change.max() < 2.001


def test_strength_is_that_of_the_change(noisy):
    whole, half = (brief(noisy, strength=strength).volume for strength in (1.0, 0.5))

    above = whole > noisy.min()  # below no value falls
    assert above.mean() > 0.8
    np.testing.assert_allclose((half - noisy)[above], 0.5 * (whole - noisy)[above], atol=1e-3 * SD)


def test_strength_0_gives_the_source_back(noisy):
    np.testing.assert_array_equal(brief(noisy, strength=0.0).volume, noisy)


def test_parts_are_each_on_their_grid(noisy):
    result = brief(np.concatenate([noisy, noisy[:1], noisy[::-1]]), parts=(8, 1, 8))

    assert result.volume.shape == (17, *STORED[1:])
    np.testing.assert_array_equal(result.volume[8], noisy[0])
    assert all(measured.acquired_rows for _, measured in result.parts)


@pytest.mark.parametrize("modality", ["CT", "PT", None])
def test_other_modalities_are_denoised_as_stored(noisy, modality):
    assert denoise(noisy, modality=modality, device="cpu", config=BRIEF).measured.acquired_rows is None


def test_excluded_voxels_come_back_bit_by_bit(truth, noisy):
    exclude = np.zeros(STORED, bool)
    exclude[:, 90:95, 90:95] = True
    exclude[2, :, 100:] = True
    values = np.where(exclude, np.nan, noisy)

    result = denoise(values, modality="MR", exclude=exclude, device="cpu", spacing_mm=(2.0, 0.5, 0.5))

    assert result.measured.acquired_rows == pytest.approx(96, abs=2)
    np.testing.assert_array_equal(result.volume[exclude], values[exclude])
    assert np.isfinite(result.volume[~exclude]).all()
    tissue = (truth > 0.4) & ~exclude
    assert np.std((result.volume - truth)[tissue]) < 0.7 * np.std((noisy - truth)[tissue])


def test_corners_without_a_measurement_come_back(truth, noisy):
    """As a correction of distortion leaves them."""
    y, x = np.indices(STORED[1:]) / 96 - 1
    masked = np.where(np.hypot(y, x) < 1.2, noisy, 0).astype(np.float32)

    result = brief(masked)

    assert result.measured.acquired_rows
    assert (result.volume[masked == 0] == 0).all()


def test_the_same_bytes_each_time(noisy):
    np.testing.assert_array_equal(brief(noisy).volume, brief(noisy).volume)
