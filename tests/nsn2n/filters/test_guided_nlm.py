# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The guided nonlocal mean: against its definition, and what it must keep."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.filters.guided_nlm import coarse_mean, guided_mean, step_for
from nsn2n.settings import AverageSettings

SD = 2.0


def averaged(noisy, guide, settings=None, sd=SD, **options):
    """The guided mean, with a step of one pixel unless told."""
    result = guide.astype(np.float32).copy()
    noise = np.full(noisy.shape[1:], sd, np.float32)
    guided_mean(noisy, result, lambda _: noise, settings or AverageSettings(), **options)
    return result


def by_definition(noisy, guide, settings, sd=SD, step_px=1):
    """The formula, voxel by voxel; the mean over 3x3x3 voxels repeats the border."""
    mean = ndimage.uniform_filter(guide.astype(np.float64), 3, mode="nearest")
    depth, height, width = noisy.shape
    result = np.empty(noisy.shape)
    for z, y, x in np.ndindex(noisy.shape):
        total = weights = 0.0
        for k in range(max(0, z - settings.reach_slices), min(depth, z + settings.reach_slices + 1)):
            reach = max(settings.reach - max(abs(k - z) - 1, 0), 0)
            steps = range(-reach, reach + 1)
            for i in (y + step_px * step for step in steps if 0 <= y + step_px * step < height):
                for j in (x + step_px * step for step in steps if 0 <= x + step_px * step < width):
                    distance = (guide[z, y, x] - guide[k, i, j]) ** 2 + 3 * (mean[z, y, x] - mean[k, i, j]) ** 2
                    weight = np.exp(-distance / (2 * settings.similarity_sd * sd) ** 2)
                    total += weight * noisy[k, i, j]
                    weights += weight
        result[z, y, x] = total / weights
    return result


@pytest.mark.parametrize(("reach", "reach_slices", "step_px"), [(1, 0, 1), (1, 1, 2), (2, 2, 1), (3, 1, 1), (1, 3, 1)])
def test_is_the_formula(reach, reach_slices, step_px):
    random = np.random.default_rng(0)
    noisy = random.normal(0, SD, (4, 6, 5)).astype(np.float32)
    guide = random.normal(0, SD, noisy.shape).astype(np.float32)
    settings = AverageSettings(reach=reach, reach_slices=reach_slices, similarity_sd=0.7)
    result = averaged(noisy, guide, settings, step_px=step_px)
    np.testing.assert_allclose(result, by_definition(noisy, guide, settings, step_px=step_px), rtol=1e-4)


@pytest.mark.parametrize("slices", [1, 2, 3, 4, 7, 8])
def test_the_slices_averaged_together_do_not_change_the_mean(slices, monkeypatch):
    random = np.random.default_rng(0)
    noisy, guide = random.normal(0, SD, (2, 7, 6, 5)).astype(np.float32)
    settings = AverageSettings(reach=2, reach_slices=2)
    monkeypatch.setattr("nsn2n.filters.guided_nlm._PIXELS_PER_BLOCK", slices * 6 * 5)
    np.testing.assert_allclose(averaged(noisy, guide, settings), by_definition(noisy, guide, settings), rtol=1e-4)


def test_a_volume_can_be_its_own_guide():
    noisy = np.random.default_rng(0).normal(0, SD, (5, 12, 12)).astype(np.float32)
    expected = averaged(noisy, noisy)
    guided_mean(noisy, noisy, lambda _: np.full(noisy.shape[1:], SD, np.float32), AverageSettings())
    assert np.array_equal(noisy, expected)


def coarse(volume, step_px=2, coarse_sd=0.4, **options):
    result = volume.astype(np.float32).copy()
    coarse_mean(
        result, lambda _: np.full(volume.shape[1:], SD, np.float32), coarse_sd, step_px=step_px, **options
    )  # fmt: skip
    return result


@pytest.mark.parametrize("step_px", [1, 2])
def test_the_coarse_mean_is_the_formula_at_three_levels(step_px):
    volume = np.random.default_rng(0).normal(0, SD, (3, 11, 9)).astype(np.float32)
    expected = volume.astype(np.float64)
    for level, slices in ((1, 1), (2, 0), (4, 0)):
        settings = AverageSettings(reach=2, reach_slices=slices, similarity_sd=0.4)
        expected = by_definition(expected, expected, settings, step_px=level * step_px)
    np.testing.assert_allclose(coarse(volume, step_px), expected, atol=1e-4)


def test_the_coarse_mean_lowers_blotches_and_keeps_a_spot_and_an_edge():
    random = np.random.default_rng(0)
    blotches = ndimage.gaussian_filter(random.normal(0, 1, (3, 96, 96)), (0, 3, 3))
    volume = (0.15 * SD * blotches / blotches.std()).astype(np.float32)
    volume[:, :, 48:] += 3 * SD
    volume[1, 20:23, 20:23] += 3 * SD
    result = coarse(volume)
    even = (slice(None), slice(30, 90), slice(8, 40))
    assert result[even].std() < 0.5 * volume[even].std()
    np.testing.assert_allclose(result[:, :, 47:49], volume[:, :, 47:49], atol=0.4 * SD)
    np.testing.assert_allclose(result[1, 20:23, 20:23], volume[1, 20:23, 20:23], atol=0.4 * SD)


def test_the_coarse_mean_leaves_invalid_voxels_out():
    volume = np.zeros((2, 24, 24), np.float32)
    valid = np.ones(volume.shape, bool)
    valid[:, :, 12:] = False
    volume[~valid] = 0.2 * SD
    assert np.abs(coarse(volume, valid=valid)[valid]).max() < 1e-20


def test_the_coarse_mean_tells_how_far_it_is():
    fractions = []
    coarse(np.zeros((2, 8, 8)), progress=fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_where_the_guide_is_even_every_voxel_in_reach_counts_the_same():
    noisy = np.random.default_rng(0).normal(0, SD, (5, 20, 20)).astype(np.float32)
    result = averaged(noisy, np.zeros_like(noisy))
    further = noisy[[0, 4], 8:13, 8:13]
    expected = (noisy[1:4, 7:14, 7:14].sum() + further.sum()) / (3 * 49 + further.size)
    assert result[2, 10, 10] == pytest.approx(expected, abs=1e-5)


def test_a_voxel_that_is_like_no_other_keeps_its_noisy_value():
    noisy = np.random.default_rng(0).normal(0, SD, (3, 15, 15)).astype(np.float32)
    guide = np.zeros_like(noisy)
    guide[1, 7, 7] = 100 * SD
    assert averaged(noisy, guide)[1, 7, 7] == noisy[1, 7, 7]


def test_no_value_crosses_an_edge_of_the_guide():
    noisy = np.zeros((3, 16, 16), np.float32)
    noisy[:, :, 8:] = 1000.0
    np.testing.assert_allclose(averaged(noisy, noisy), noisy, rtol=0, atol=1e-20)


def test_invalid_voxels_count_for_none_and_do_not_keep_others_from_counting():
    random = np.random.default_rng(0)
    noisy = random.normal(0, SD, (3, 12, 12)).astype(np.float32)
    valid = np.ones(noisy.shape, bool)
    valid[:, :, 6:] = False
    clean = averaged(noisy, np.zeros_like(noisy), valid=valid)
    other = np.where(valid, noisy, 777).astype(np.float32)
    assert np.array_equal(averaged(other, np.zeros_like(noisy), valid=valid)[valid], clean[valid])
    assert clean[1, 6, 5] == pytest.approx(noisy[:, 3:10, 2:6].mean(), abs=1e-5)


@pytest.mark.parametrize("shape", [(2, 1, 1), (2, 2, 3), (2, 3, 40), (7, 9, 4)])
def test_volumes_smaller_than_the_reach(shape):
    noisy = np.random.default_rng(0).normal(0, SD, shape).astype(np.float32)
    guide = np.zeros_like(noisy)
    settings = AverageSettings(reach=3, reach_slices=2)
    np.testing.assert_allclose(averaged(noisy, guide, settings), by_definition(noisy, guide, settings), atol=1e-5)


def test_the_unit_does_not_matter():
    random = np.random.default_rng(0)
    noisy = random.normal(0, SD, (3, 12, 12)).astype(np.float32)
    guide = ndimage.gaussian_filter(noisy, 1)
    np.testing.assert_allclose(
        averaged(1024 * noisy, 1024 * guide, sd=1024 * SD), 1024 * averaged(noisy, guide), rtol=1e-5
    )


def test_progress_ends_at_one(monkeypatch):
    monkeypatch.setattr("nsn2n.filters.guided_nlm._PIXELS_PER_BLOCK", 64)
    fractions = []
    averaged(np.zeros((4, 8, 8), np.float32), np.zeros((4, 8, 8)), progress=fractions.append)
    assert fractions == [0.25, 0.5, 0.75, 1.0]


@pytest.mark.parametrize(("blur_px", "step"), [(0, 1), (0.3, 1), (0.7, 2), (1.5, 2)])
def test_neighbors_with_the_same_noise_are_passed_over(blur_px, step):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).normal(0, SD, (3, 40, 40)), (0, blur_px, blur_px))
    noise *= SD / noise.std()
    # A few edges that were removed too are no noise.
    noise[:, 20] += 50 * SD
    assert step_for(list(noise.astype(np.float32)), [np.full((40, 40), SD, np.float32)] * 3) == step


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (8, 8)])
def test_where_nothing_was_removed_the_step_is_one(shape):
    assert step_for([np.zeros(shape, np.float32)], [np.ones(shape, np.float32)]) == 1
