# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The filter of groups of similar cubes: what it lowers, what it brings back, what it must leave."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.filters.cube_filter import filter_cubes, share_kept
from nsn2n.noise.along_slices import SliceCorrelation

SD = 4.0
SHAPE = (9, 64, 64)


def noise_sd(_index):
    return np.full(SHAPE[1:], SD, np.float32)


def filtered(noisy, denoised, **options):
    result = denoised.astype(np.float32).copy()
    chosen = {"cubes": 12, "noise_factor": 1.0, "share": 0.0, **options}
    filter_cubes(noisy.astype(np.float32), result, noise_sd, **chosen)
    return result


@pytest.fixture(scope="module")
def noise():
    return SD * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def slanted_edge(contrast):
    z, y, x = np.indices(SHAPE)
    return (100 + contrast * (x + y + z > 70)).astype(np.float32)


def test_noise_at_edges_falls(noise):
    truth = slanted_edge(20 * SD)
    other = SD * np.random.default_rng(1).standard_normal(SHAPE)
    denoised = truth + 0.5 * noise + 0.3 * other

    result = filtered(truth + noise, denoised)

    near = np.abs(np.gradient(truth, axis=2)) > 0
    assert (result - truth)[near].std() < 0.8 * (denoised - truth)[near].std()


def test_detail_that_was_lost_comes_back(noise):
    z, y, x = np.indices(SHAPE)
    detail = 2 * SD * np.sin((x + 6 * np.sin(y / 11) + 0.3 * z) / 2.5)

    def kept(volume):
        return float(((volume - 100) * detail).sum() / np.square(detail).sum())

    result = filtered(100 + detail + noise, 100 + 0.5 * detail)

    assert kept(100 + 0.5 * detail) == pytest.approx(0.5)
    assert kept(result) > 0.7
    assert np.std(result - 100 - detail) < 0.8 * np.std(0.5 * detail)


def test_noise_of_even_tissue_falls(noise):
    truth = np.full(SHAPE, 100, np.float32)

    assert np.std(filtered(truth + noise, truth + 0.3 * noise) - truth) < 0.25 * SD


@pytest.mark.parametrize("contrast_sd", [5.0, 8.0, -6.0])
def test_a_spot_of_one_slice_keeps_its_contrast(noise, contrast_sd):
    truth = np.full(SHAPE, 100, np.float32)
    spot = np.hypot(*np.indices(SHAPE[1:]) - 32) < 1.6
    truth[4, spot] += contrast_sd * SD

    result = filtered(truth + noise, truth)

    assert (result[4, spot].mean() - 100) / (contrast_sd * SD) == pytest.approx(1, abs=0.07)


def test_contrast_is_restored_only_where_it_was_lost_with_the_rim():
    rows, columns = np.indices((31, 31)) - 15
    spot = (np.hypot(rows, columns) < 1.6).astype(np.float32)

    share = share_kept(5 * spot, 3 * spot)

    assert (share[spot > 0] == 1).all()
    assert share[np.hypot(rows, columns) > 5].max() == 0
    np.testing.assert_array_equal(share_kept(-5 * spot, -3 * spot), share)
    assert share_kept(3 * spot, 5 * spot)[15, 15] == 0
    assert share_kept(5 * spot, 4.8 * spot).max() == 0


def test_the_share_of_what_there_was_stays(noise):
    noisy, denoised = 100 + noise, 100 + 0.2 * noise

    without, half = (filtered(noisy, denoised, share=share) for share in (0.0, 0.5))

    # Where nothing stands out, which is nearly everywhere.
    assert np.median(np.abs(half - 0.5 * (without + denoised))) < 1e-3
    np.testing.assert_allclose(filtered(noisy, denoised, share=1.0), denoised, atol=1e-3)


def test_less_noise_in_the_weights_keeps_more_of_it(noise):
    noisy = 100 + noise

    left = [np.std(filtered(noisy, 100 + 0.2 * noise, noise_factor=factor)) for factor in (2.0, 1.0, 0.1)]

    assert left == sorted(left)
    assert left[2] > 1.3 * left[0]


def test_noise_that_slices_share_falls_further_if_that_is_known(noise):
    shared = (noise + np.roll(noise, 1, axis=0)) / np.sqrt(2, dtype=np.float32)
    truth = np.full(SHAPE, 100, np.float32)

    unknown, known = (
        np.std(filtered(truth + shared, truth + 0.3 * shared, along=along) - truth)
        for along in (SliceCorrelation(), SliceCorrelation(0.5, 0.0))
    )

    assert known < 0.85 * unknown


def test_what_holds_no_measurement_is_not_filtered(noise):
    truth = slanted_edge(10 * SD)
    valid = np.ones(SHAPE, bool)
    valid[:, :, :32] = False

    result = filtered(truth + noise, truth, valid=valid)

    np.testing.assert_allclose(result[:, :, :20], truth[:, :, :20], rtol=1e-6)
    assert not np.allclose(result[:, :, 40:], truth[:, :, 40:], rtol=1e-6)


def test_slices_smaller_than_two_cubes_stay():
    denoised = np.ones((3, 7, 40), np.float32)

    filter_cubes(2 * denoised, denoised, lambda _: np.ones((7, 40)), cubes=8, noise_factor=1.0, share=0.0)

    assert (denoised == 1).all()


def test_progress_rises_to_one(noise):
    told = []

    filtered(100 + noise, 100 + 0.2 * noise, progress=told.append)

    assert told == sorted(told)
    assert told[-1] == pytest.approx(1)
