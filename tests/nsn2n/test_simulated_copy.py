# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The copy whose truth is known: where it is taken, and that it tells what filters lose."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.noise.level import measure_noise
from nsn2n.simulated_copy import simulated_copy

SD = 4.0
SHAPE = (8, 96, 112)


def folds(contrast_sd=2.0):
    """Folds of some pixels, which change slowly from slice to slice, with a step at one side."""
    z, y, x = np.indices(SHAPE)
    truth = 100 + contrast_sd * SD * np.sin((x + 6 * np.sin(y / 11) + 0.4 * z) / 2.5)
    truth[:, :, :16] = 1000
    return truth.astype(np.float32)


def noise(seed=0):
    return SD * np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)


def blurred(volume, sigma_px):
    return ndimage.gaussian_filter(volume, (0, sigma_px, sigma_px))


def lost(removed, truth, where):
    detail = (truth - blurred(truth, 6.0))[where]
    return float((removed[where] * detail).sum() / np.square(detail).sum())


def copied(truth, valid=None, seed=0):
    noisy = truth + noise()
    pilot = blurred(noisy, 0.7)
    copy = simulated_copy(noisy, pilot, measure_noise(noisy, valid), valid, seed=seed)
    return noisy, copy.sized_up(blurred(copy.noisy, 0.7))


@pytest.mark.parametrize("sigma_px", [0.5, 0.8, 1.2])
def test_it_tells_what_a_filter_loses_of_the_volume_itself(sigma_px):
    truth = folds()
    noisy, copy = copied(truth)
    away = np.zeros(SHAPE, bool)
    away[:, 24:-24, 40:-24] = True

    told = copy.detail_lost(blurred(copy.noisy, sigma_px))

    assert copy.certainty == 1
    assert told == pytest.approx(lost(noisy - blurred(noisy, sigma_px), truth, away), abs=0.05)


def test_it_tells_how_much_of_the_noise_is_left():
    _, copy = copied(folds())

    assert copy.noise_left(copy.truth) == pytest.approx(0, abs=1e-3)
    assert copy.noise_left(copy.noisy) == pytest.approx(1, abs=0.02)
    half = copy.truth + 0.5 * (copy.noisy - copy.truth)
    assert copy.noise_left(half) == pytest.approx(0.5, abs=0.02)
    # Detail that is lost is no noise.
    assert copy.noise_left(copy.truth - 0.3 * (copy.truth - blurred(copy.truth, 6.0))) < 0.15


def test_nothing_lost_is_zero():
    _, copy = copied(folds())

    assert copy.detail_lost(copy.truth) == pytest.approx(0, abs=0.03)
    assert copy.detail_lost(copy.noisy) == 0


def test_where_there_is_no_detail_nothing_is_certain():
    _, copy = copied(np.full(SHAPE, 100, np.float32))

    assert copy.certainty == 0


@pytest.mark.parametrize(("contrast_sd", "expected"), [(0.0, 1.0), (0.5, 0.0), (2.0, 0.0)])
def test_detail_that_noise_alone_does_not_make_is_no_homogeneous_tissue(contrast_sd, expected):
    """Far below the noise, too, if it is all over the tissue."""
    truth = folds(contrast_sd)
    noisy, copy = copied(truth)
    part, pilot = noisy[copy.place], blurred(noisy, 1.0)[copy.place]
    blanks = [copy.without_detail(pilot, seed) for seed in (5, 6)]

    compared = copy.compared(part, pilot, [(blank, blurred(blank.noisy, 1.0)) for blank in blanks])

    assert abs(compared.homogeneity - expected) < 0.5
    assert compared.has_detail == (expected == 0)


def test_noise_of_another_level_is_no_detail():
    noisy, copy = copied(folds(0.0))
    part, pilot = noisy[copy.place], blurred(noisy, 1.0)[copy.place]
    blanks = [copy.without_detail(pilot, seed) for seed in (5, 6)]
    quiet = [replace(blank, noisy=blank.truth + 0.7 * (blank.noisy - blank.truth)) for blank in blanks]

    compared = copy.compared(part, pilot, [(blank, blurred(blank.noisy, 1.0)) for blank in quiet])

    assert compared.homogeneity > 0.5


def test_without_detail_noise_and_edges_are_left():
    noisy, copy = copied(folds())
    pilot = blurred(noisy, 1.0)[copy.place]

    blank = copy.without_detail(pilot, seed=5)

    np.testing.assert_array_equal(blank.truth, blurred(pilot, 6.0))
    change = blank.noisy - blank.truth
    assert change.std() == pytest.approx(SD, rel=0.1)
    assert abs(np.corrcoef(change[copy.faint], (noisy[copy.place] - copy.truth)[copy.faint])[0, 1]) < 0.05
    assert blank.noise_left(blank.truth + 0.3 * change) == pytest.approx(0.3, abs=0.01)


def test_strong_edges_are_not_looked_at():
    truth = folds()
    truth[:, 44:52, 60:68] += 60 * SD
    _, copy = copied(truth)
    top, left = copy.place[1].start, copy.place[2].start

    assert not copy.faint[:, 42 - top : 54 - top, 58 - left : 70 - left].any()
    assert copy.faint[:, 70 - top :, 40 - left :].all()


def test_vessels_that_are_kept_do_not_hide_what_is_lost_of_faint_detail_that_fills_the_tissue():
    waves = folds(contrast_sd=1.0) - folds(contrast_sd=0)
    _, copy = copied(with_vessels(folds(contrast_sd=1.0)))

    assert copy.share_of_fainter > 0.9
    assert copy.detail_lost(copy.noisy - 0.5 * waves[copy.place]) == pytest.approx(0.5, abs=0.1)


def test_where_there_is_hardly_other_detail_vessels_are_all_of_it():
    """As in a phantom, in which nothing else can be lost."""
    _, copy = copied(with_vessels(folds(contrast_sd=0)))

    assert copy.share_of_fainter == 0
    assert copy.certainty == 1
    assert copy.detail_lost(copy.noisy - 0.2 * (copy.truth - blurred(copy.truth, 6.0))) == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize(("contrast_sd", "expected"), [(0, 0.0), (3.0, 1.0)])
def test_isolated_faint_detail_counts_alone_if_noise_does_not_make_it(contrast_sd, expected):
    """Lines far apart, as small vessels are; evenly distributed detail of that power would fill the tissue."""
    truth = with_vessels(folds(contrast_sd=0))
    for row in (0, 1):
        truth[:, 4 + row : 72 : 9] += contrast_sd * SD
    noisy, copy = copied(truth)
    copy = replace(copy, share_of_fainter=0.0)
    part, pilot = noisy[copy.place], blurred(noisy, 1.0)[copy.place]
    blank = copy.without_detail(pilot, seed=5)

    compared = copy.compared(part, pilot, [(blank, blurred(blank.noisy, 1.0))])

    assert compared.share_of_fainter == pytest.approx(expected, abs=0.01)


def with_vessels(truth):
    """With vessels in one corner."""
    rows, columns = np.ogrid[: SHAPE[1], : SHAPE[2]]
    for row, column in itertools.product((78, 90), (82, 94, 106)):
        truth[:, np.hypot(rows - row, columns - column) < 4] += 8 * SD
    return truth


def test_in_homogeneous_tissue_what_structures_lose_counts_and_not_noise_that_the_truth_holds():
    truth = np.full(SHAPE, 100, np.float32)
    truth[:, 40:60:6, 40:80] += 5 * SD
    _, copy = copied(truth)
    structures = ndimage.binary_dilation(truth[copy.place] > 101, np.ones((1, 5, 5)))
    detail = copy.truth - blurred(copy.truth, 6.0)
    denoised = copy.noisy - np.where(structures, 0.1, 0.8) * detail

    homogeneous, full = (replace(copy, certainty=1.0, excess=excess).detail_lost(denoised) for excess in (1.0, 3.0))
    without = replace(copy, truth=np.where(structures, copy.truth - detail, copy.truth), certainty=1.0, excess=1.0)

    assert homogeneous == pytest.approx(0.1, abs=0.03)
    assert full > 0.2
    assert without.detail_lost(denoised) == 0
    assert replace(copy, certainty=1.0, excess=1.0).has_detail
    assert not without.has_detail, "a loss of 0 would be told of structures that are not there"


def test_it_lies_where_detail_is():
    truth = np.full((4, 160, 320), 100, np.float32)
    truth[:, 40:120, 200:] += folds()[:4, 8:88, :1].repeat(120, axis=2) - 1000 + noise()[:4, :80, :1]
    truth[:, 40:120, 200:] += 6 * np.random.default_rng(2).standard_normal((1, 80, 120)).astype(np.float32)
    noisy = truth + SD * np.random.default_rng(1).standard_normal(truth.shape).astype(np.float32)

    copy = simulated_copy(noisy, truth, measure_noise(noisy), None, seed=0)

    assert copy.place[0] == slice(0, 4)
    assert copy.place[2].start > 150


def test_it_lies_where_faint_detail_fills_the_tissue_and_not_where_few_structures_are_strong():
    random = np.random.default_rng(0)
    truth = np.full((4, 160, 320), 100, np.float32)
    truth[:, 30:130, 20:140] += 0.42 * SD * random.choice([-1, 1], (100, 120)).astype(np.float32)
    truth[:, 30:130, 240:290] += 3 * SD * random.choice([-1, 1], (100, 50)).astype(np.float32)
    noisy = truth + SD * random.standard_normal(truth.shape).astype(np.float32)

    copy = simulated_copy(noisy, truth, measure_noise(noisy), None, seed=0)

    assert copy.place[2].stop < 180


def test_what_holds_no_measurement_is_left_out():
    truth = folds()
    valid = np.ones(SHAPE, bool)
    valid[:, :40] = False
    truth[:, :40] = 0

    noisy, copy = copied(truth, valid)

    assert copy.valid is not None
    assert not copy.faint[~copy.valid].any()
    np.testing.assert_array_equal(copy.noisy[~copy.valid], noisy[copy.place][~copy.valid])


def test_the_seed_decides_its_noise():
    truth = folds()

    (_, first), (_, again), (_, other) = (copied(truth, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.noisy, again.noisy)
    np.testing.assert_array_equal(first.truth, other.truth)
    assert not np.array_equal(first.noisy, other.noisy)
