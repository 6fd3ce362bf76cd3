# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The cases hold what they claim: noise, halves, slices taken away, spots."""

from __future__ import annotations

import numpy as np
import pytest
from cases import CASES, DATA, add_rician, half_of, make_case, mix_slices
from no_harm import METAL_HU, PROBES, TEXT_HU

MR = "mr-rician-5"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"needs the data in {DATA} (NSN2N_TEST_DATA names them)")


def correlation(a, b):
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("lag", [0.2, 0.5])
def test_mixed_slices_correlate_as_asked_for_and_keep_their_variance(lag):
    noise = np.random.default_rng(0).normal(0, 3, (9, 200, 200))
    mixed = mix_slices(noise, lag)
    assert len(mixed) == 8
    assert mixed.std() == pytest.approx(3, rel=0.01)
    assert correlation(mixed[:-1], mixed[1:]) == pytest.approx(lag, abs=0.01)
    assert correlation(mixed[:-2], mixed[2:]) == pytest.approx(0, abs=0.01)


def test_two_slices_cannot_correlate_more_than_by_half():
    with pytest.raises(ValueError, match=r"must be in 0\.\.0\.5"):
        mix_slices(np.zeros((3, 2, 2)), 0.6)


@pytest.mark.parametrize("lag", [0.0, 0.5])
def test_rician_noise_has_its_sd_where_there_is_signal_and_its_mean_where_there_is_none(lag):
    clean = np.zeros((6, 200, 200), np.float32)
    clean[:, 100:] = 1
    error = add_rician(clean, 0.05, 3, lag) - clean
    assert error[:, 100:].std() == pytest.approx(0.05, rel=0.01)
    assert error[:, :100].mean() == pytest.approx(0.05 * np.sqrt(np.pi / 2), rel=0.01)
    assert correlation(error[:-1, 100:], error[1:, 100:]) == pytest.approx(lag, abs=0.02)


def test_even_seeds_tune_and_odd_ones_report():
    assert [half_of(seed) for seed in range(4)] == ["tune", "report", "tune", "report"]
    tune, report = (make_case("ct-lowdose-quarter", "tiny", seed) for seed in (0, 1))
    assert set(range(*tune.measured.indices(24))).isdisjoint(range(*report.measured.indices(24)))
    assert not np.array_equal(tune.noisy, report.noisy)
    for case in (tune, report):
        for spot in case.spots:
            assert case.measured.start <= spot.slices.start < spot.slices.stop <= case.measured.stop


def test_dose_sets_the_noise_of_the_phantom():
    full, quarter = (make_case(f"ct-lowdose-{dose}", "tiny", 1) for dose in ("full", "quarter"))
    sd = [(case.noisy - case.truth)[case.tissue].std() for case in (full, quarter)]
    assert sd[1] / sd[0] == pytest.approx(2, rel=0.1)
    assert quarter.noise_sd[quarter.tissue].mean() == pytest.approx(sd[1], rel=0.2)


def test_spots_are_the_only_difference_of_the_two_inputs():
    case = make_case("ct-lowdose-quarter", "tiny", 1)
    difference = case.with_spots - case.noisy
    for spot in case.spots:
        assert spot.of(difference) == pytest.approx(spot.contrast, abs=0.01)
        difference[spot.slices, spot.rows, spot.columns] = 0
    assert case.spots
    assert np.abs(difference).max() == 0


def test_slices_are_removed():
    whole, thin = (make_case(f"ct-lowdose-quarter{change}", "tiny", 1) for change in ("", "/every-2"))
    assert thin.noisy.shape[0] == 12
    assert np.array_equal(thin.noisy, whole.noisy[::2])
    assert np.array_equal(thin.truth, whole.truth[::2])
    assert thin.spacing_mm == (4.0, *whole.spacing_mm[1:])
    assert thin.measured == slice(6, 12)


def test_spots_of_a_thinned_case_lie_in_the_slices_that_are_left():
    case = make_case("ct-lowdose-quarter/every-2", "tiny", 0)
    assert case.spots
    difference = case.with_spots - case.noisy
    for spot in case.spots:
        assert spot.of(difference) == pytest.approx(spot.contrast, abs=0.01)


def test_noise_of_neighboring_slices_correlates_as_the_name_says():
    case = make_case("ct-lowdose-quarter/lag-0.5", "tiny", 1)
    noise = case.noisy - case.truth
    assert len(noise) == 23
    both = case.tissue[:-1] & case.tissue[1:]
    assert correlation(noise[:-1][both], noise[1:][both]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", ["clean-ct"])
def test_clean_volumes_have_no_noise(name):
    case = make_case(name, "tiny", 1)
    assert np.array_equal(case.noisy, case.truth)
    assert case.with_spots is None


@pytest.mark.parametrize("name", PROBES)
def test_probes_hold_their_feature_and_noise(name):
    case = make_case(name, "tiny", 1)
    assert (case.noisy - case.truth)[case.feature < METAL_HU].std() == pytest.approx(20, rel=0.02)
    assert np.array_equal(case.feature, case.truth)
    assert case.noisy.max() <= METAL_HU


def test_text_is_in_one_slice_and_checkers_change_in_each():
    text = make_case("text", "tiny", 1).truth
    assert np.flatnonzero(text.any(axis=(1, 2))).tolist() == [8]
    assert np.unique(text).tolist() == [0, TEXT_HU]
    checkers = make_case("checkerboard", "tiny", 1).truth
    assert np.array_equal(checkers[1:], -checkers[:-1])


@needs_data
def test_the_head_is_scaled_and_its_halves_share_no_slice():
    tune, report = (make_case(MR, "small", seed) for seed in (0, 1))
    assert tune.noisy.shape == report.noisy.shape == (48, 160, 152)
    assert 0.7 < np.percentile(tune.truth, 99.9) < 1.1  # 1 in the whole head
    assert not any(np.array_equal(a, b) for a in tune.truth for b in report.truth)
    kept = tune.truth[tune.tissue].min()
    assert kept > 0.08


@needs_data
def test_the_scanned_phantom_is_measured_in_its_half():
    case = make_case("ct-real", "small", 1)
    assert case.noisy.shape == (40, 320, 320)
    assert case.measured == slice(20, 40)
    assert case.truth is None
    thin = make_case("ct-real/every-4", "small", 1)
    assert {z for z, _ in thin.rods.interiors} <= set(range(10))
    assert all(np.array_equal(thin.noisy[z], case.noisy[4 * z]) for z in range(10))


def test_unknown_names_are_refused():
    with pytest.raises(ValueError, match="must be one of mr-rician-5"):
        make_case("mr-rician-6")
    assert len(set(CASES)) == len(CASES)
