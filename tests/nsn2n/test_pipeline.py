# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One volume on its way through the method: which stages leave which marks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.modality import Modality
from nsn2n.pipeline import measured_state, run_pipeline
from nsn2n.runtime.compute import choose_compute
from nsn2n.settings import (
    AverageSettings,
    EdgeSettings,
    FitSettings,
    GroupSettings,
    MatchSettings,
    NetworkSettings,
    RefitSettings,
    Settings,
)
from nsn2n.training.fitting import step_count

BRIEF = Settings(fit=FitSettings(steps=3, crop_px=16), refit=RefitSettings(steps=2))
SD = 5.0


def _noisy(shape=(6, 40, 40), level=100.0):
    return (level + SD * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def _run(volume, settings=BRIEF, modality=None, valid=None):
    return run_pipeline(volume, valid, modality and Modality(modality), settings, choose_compute("cpu"))


def test_a_volume_without_noise_comes_back_as_it_is():
    volume = np.full((4, 20, 20), 7.0, np.float32)

    state = _run(volume)

    np.testing.assert_array_equal(state.denoised, volume)
    assert not np.shares_memory(state.denoised, volume)
    assert len(state.loss) == 0
    assert state.structure.verdict == "pass"


def test_noise_and_steps_are_reported():
    state = _run(_noisy(), modality="MR")

    assert state.noise.median == state.measured.noise_sd_median == pytest.approx(SD, rel=0.1)
    assert (len(state.loss), state.measured.steps, state.measured.refit_steps) == (3, 3, 2)
    assert 0 < state.measured.matched_fraction <= 1
    assert state.measured.rician_bias_taken
    assert state.measured.modality == "MR"
    assert np.std(state.denoised) < 0.6 * SD


@pytest.mark.slow
@pytest.mark.parametrize(
    ("modality", "start", "grouped", "shorter"),
    [
        ("MR", "auto", "auto", True),
        ("MR", "none", "auto", False),
        ("CT", "auto", "auto", True),
        ("CT", "none", "auto", False),
        ("CT", "auto", "never", False),
    ],
)
def test_a_fit_from_the_bundle_is_short_where_a_second_one_or_the_group_filter_follows(
    modality, start, grouped, shorter, monkeypatch
):
    # As they are, they would take seconds.
    monkeypatch.setattr("nsn2n.training.fitting._STEPS_OF_DRAFT", 20)
    monkeypatch.setattr("nsn2n.training.fitting._STEPS", 30)
    fit = FitSettings(crop_px=8, pairs_per_step=1, stop_gain=None)
    settings = replace(BRIEF, fit=fit, network=NetworkSettings(start=start), groups=GroupSettings(when=grouped))

    state = _run(_noisy((4, 16, 16)), settings, modality=modality)

    assert len(state.loss) == step_count(fit, 3, draft=shorter) == (20 if shorter else 30)


def _slices(gain, seed=0):
    """Random slices of sd 1, whose amplitude at each frequency in cycles per pixel is given by a function."""
    frequency = np.hypot(np.fft.fftfreq(128)[:, None], np.fft.rfftfreq(128))
    random = np.random.default_rng(seed).standard_normal((8, 128, 128))
    field = np.fft.irfft2(np.fft.rfft2(random) * gain(frequency), s=(128, 128))
    return (field / field.std()).astype(np.float32)


def _anatomy(frequency):
    return np.maximum(frequency, 1 / 40) ** -1.5


def test_in_ct_what_thick_slices_differ_by_is_no_noise():
    noise = SD * _slices(lambda frequency: np.sqrt(frequency) * np.exp(-0.5 * np.square(frequency / 0.25)))
    anatomy = 1.2 * SD * _slices(_anatomy, seed=1)

    in_ct, in_mr = (
        measured_state(noise + anatomy, None, modality, BRIEF, choose_compute("cpu")).noise.median
        for modality in (Modality.CT, Modality.MR)
    )

    assert in_ct == pytest.approx(SD, rel=0.1)
    assert in_mr > 1.1 * in_ct


@pytest.mark.parametrize(("modality", "known"), [(Modality.MR, True), (Modality.PT, False), (None, False)])
def test_in_mr_the_spectrum_of_the_noise_is_flat(modality, known):
    volume = 500 + SD * _slices(np.ones_like) + SD * _slices(_anatomy, seed=1)

    noise = measured_state(volume, None, modality, BRIEF, choose_compute("cpu")).noise

    assert bool(noise.spectra) == known
    if known:
        assert not noise.rises
        np.testing.assert_allclose(noise.spectra[8], 1, atol=0.35)


def test_no_second_fit_and_no_bias_but_for_mr():
    measured = _run(_noisy(), modality="CT").measured

    assert measured.refit_steps == 0
    assert not measured.rician_bias_taken


def test_a_volume_with_negative_values_is_no_magnitude():
    assert not _run(_noisy(level=0.0), modality="MR").measured.rician_bias_taken


def test_invalid_voxels_come_back_as_they_are():
    volume, valid = _noisy(), np.ones((6, 40, 40), bool)
    volume[2, :8] = np.nan
    valid[2, :8] = False

    denoised = _run(volume, valid=valid).denoised

    assert np.isnan(denoised[2, :8]).all()
    assert np.isfinite(denoised[valid]).all()


def test_no_voxel_changes_by_more_than_the_bound():
    volume = _noisy()

    state = _run(volume, replace(BRIEF, largest_change_sd=0.5))

    assert (np.abs(state.denoised - volume) <= 0.5 * state.noise.sd + 1e-4).all()
    assert (np.abs(state.denoised - volume) > 0.49 * state.noise.sd).any()


SMOOTH = replace(BRIEF, groups=GroupSettings(when="never"), average=AverageSettings(when="always"))


@pytest.mark.parametrize(
    ("blur_px", "modality", "coarse", "taken"),
    [(0.0, "CT", "auto", False), (0.8, "CT", "auto", True), (0.8, "PT", "auto", False), (0.8, None, "auto", False),
     (0.8, "PT", "always", True), (0.0, "PT", "always", False)],
)  # fmt: skip
def test_the_coarse_mean_is_taken_in_ct_where_neighboring_pixels_share_noise(blur_px, modality, coarse, taken):
    noise = ndimage.gaussian_filter(_noisy((6, 64, 64), level=0.0), (0, blur_px, blur_px))
    volume = (100 + noise * SD / noise.std()).astype(np.float32)

    denoised, without = (
        state.denoised
        for state in (
            _run(volume, replace(SMOOTH, average=AverageSettings(when="always", coarse=coarse)), modality),
            _run(volume, replace(SMOOTH, average=AverageSettings(when="always", coarse="never")), modality),
        )
    )

    assert np.array_equal(denoised, without) != taken
    if taken:
        assert np.std(denoised) < 0.9 * np.std(without)


@pytest.mark.parametrize(
    ("modality", "when", "taken"),
    [("CT", "auto", True), ("PT", "auto", False), (None, "auto", False), ("PT", "always", True)],
)
def test_the_noise_of_edges_is_lowered_in_ct(modality, when, taken):
    rows, columns = (np.arange(64) - 31.7 for _ in range(2))
    truth = np.clip(20 - np.hypot(rows[:, None], columns), -1, 1) * 20 * SD
    at_edge = np.abs(truth) < 20 * SD
    volume = (truth + _noisy((8, 64, 64), level=0.0)).astype(np.float32)

    denoised, without = (
        state.denoised
        for state in (
            _run(volume, replace(SMOOTH, edges=EdgeSettings(when=when)), modality),
            _run(volume, replace(SMOOTH, edges=EdgeSettings(when="never")), modality),
        )
    )

    assert np.array_equal(denoised, without) != taken
    if taken:
        error, error_without = (np.std((result - truth)[:, at_edge]) for result in (denoised, without))
        assert error < 0.9 * error_without


@pytest.mark.slow
def test_noise_that_slices_share_is_found_and_removed():
    thin = np.random.default_rng(0).standard_normal((13, 96, 96))
    volume = (100 + SD * (thin[1:] + thin[:-1]) / np.sqrt(2)).astype(np.float32)
    settings = replace(BRIEF, fit=FitSettings(steps=60, crop_px=32, stop_gain=None))
    unaware = replace(settings, match=MatchSettings(correlation="none"))

    state, other = _run(volume, settings), _run(volume, unaware)

    assert state.measured.slice_correlation == pytest.approx(0.5, abs=0.08)
    assert state.partner == (2, 0.0)
    assert state.noise.median == pytest.approx(SD, rel=0.1)
    assert other.noise.median == pytest.approx(SD / np.sqrt(2), rel=0.1)
    assert np.std(state.denoised) < 0.5 * np.std(other.denoised)


def test_the_papers_rule_knows_neighbors_only():
    thin = np.random.default_rng(0).standard_normal((13, 96, 96))
    volume = (100 + SD * (thin[1:] + thin[:-1]) / np.sqrt(2)).astype(np.float32)

    state = _run(volume, replace(BRIEF, match=MatchSettings(rule="lowpass")))

    assert state.partner == (1, 0.0)
    assert state.measured.slice_correlation == 0
