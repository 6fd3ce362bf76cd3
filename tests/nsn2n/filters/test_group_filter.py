# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The filter of groups of similar blocks over whole slices: what it brings back, what it lowers, what it must leave."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.filters.group_filter import filter_groups, lost_contrast

SD = 4.0
SHAPE = (9, 72, 80)


def noise_sd(_index):
    return np.full(SHAPE[1:], SD, np.float32)


def filtered(noisy, pilot, **options):
    result = pilot.astype(np.float32).copy()
    filter_groups(noisy.astype(np.float32), result, noise_sd, stacks=8, noise_factor=0.5, **options)
    return result


def folds(contrast_sd=1.0):
    """Faint folds, as gyri are, that change slowly from slice to slice."""
    z, y, x = np.indices(SHAPE)
    pattern = np.sin((x + 6 * np.sin(y / 11) + 0.3 * z) / 2.5)
    return (100 + contrast_sd * SD * pattern).astype(np.float32)


@pytest.fixture(scope="module")
def noise():
    return SD * np.random.default_rng(0).standard_normal(SHAPE).astype(np.float32)


def lost(result, truth, noisy):
    detail = truth - truth.mean()
    return float(((noisy - result) * detail).sum() / np.square(detail).sum())


@pytest.mark.parametrize("contrast_sd", [0.7, 1.0, 2.0])
def test_detail_that_the_pilot_lost_comes_back(noise, contrast_sd):
    truth = folds(contrast_sd)
    noisy = truth + noise
    pilot = 100 + 0.5 * (truth - 100)

    result = filtered(noisy, pilot)

    assert lost(pilot, truth, noisy) == pytest.approx(0.5, abs=0.05)
    assert lost(result, truth, noisy) < 0.3
    assert np.std(result - truth) < 0.4 * SD


def test_noise_of_even_tissue_falls(noise):
    truth = np.full(SHAPE, 100, np.float32)

    result = filtered(truth + noise, truth + 0.1 * noise)

    assert np.std(result - truth) < 0.2 * SD


@pytest.mark.parametrize("contrast_sd", [4.0, 8.0, -6.0])
def test_a_spot_of_one_slice_keeps_the_contrast_of_the_pilot(noise, contrast_sd):
    truth = np.full(SHAPE, 100, np.float32)
    spot = np.hypot(*np.indices(SHAPE[1:]) - np.array(SHAPE[1:])[:, None, None] // 2) < 1.6
    truth[4, spot] += contrast_sd * SD

    result = filtered(truth + noise, truth)

    assert (result[4, spot].mean() - 100) / (contrast_sd * SD) == pytest.approx(1, abs=0.07)


@pytest.mark.parametrize("over_px", [0.0, 1.5])
def test_contrast_is_restored_only_where_what_stands_out_lost_it(over_px):
    rows, columns = np.indices(SHAPE[1:]) - 36
    blob = np.exp(-0.5 * (rows**2 + columns**2)).astype(np.float32)
    sd = noise_sd(0)

    strong, faint = 6 * SD * blob, 0.8 * SD * blob

    assert lost_contrast(strong, 0.5 * strong, sd, over_px=over_px)[36, 36] == pytest.approx(
        0.5 * strong[36, 36], rel=0.2
    )
    assert np.abs(lost_contrast(faint, 0.5 * faint, sd, over_px=over_px)).max() == 0
    assert np.abs(lost_contrast(strong, 1.5 * strong, sd, over_px=over_px)[36, 36]) == 0
    # What turned its sign has lost no more than it had.
    detail = strong - ndimage.gaussian_filter(strong, 3.0)
    assert lost_contrast(strong, -strong, sd, over_px=over_px)[36, 36] == pytest.approx(detail[36, 36])


def test_noise_beside_a_strong_edge_is_no_lost_contrast():
    columns = np.indices(SHAPE[1:])[1] - 36
    bone = np.where(columns < 0, 200 * SD, 0).astype(np.float32)
    random = SD * np.random.default_rng(0).standard_normal(SHAPE[1:]).astype(np.float32)
    beside = (columns >= 2) & (columns < 8)

    of_each, of_some = (lost_contrast(bone, bone + random, noise_sd(0), over_px=px)[beside] for px in (0.0, 1.5))

    assert of_each.mean() < -0.2 * SD
    assert abs(of_some.mean()) < 0.04 * SD


def test_what_holds_no_measurement_is_not_filtered(noise):
    truth = folds()
    valid = np.ones(SHAPE, bool)
    valid[:, :, :24] = False
    pilot = truth.copy()

    result = filtered(truth + noise, pilot, valid=valid)

    np.testing.assert_array_equal(result[:, :, :8], pilot[:, :, :8])
    assert not np.array_equal(result[:, :, 32:], pilot[:, :, 32:])


def test_slices_smaller_than_a_block_stay():
    pilot = np.ones((3, 7, 40), np.float32)

    filter_groups(2 * pilot, pilot, lambda _: np.ones((7, 40), np.float32), stacks=8, noise_factor=1.0)

    assert (pilot == 1).all()


def test_progress_reaches_one(noise):
    told = []

    filtered(folds() + noise, folds(), progress=told.append)

    assert told == sorted(told)
    assert told[-1] == 1
