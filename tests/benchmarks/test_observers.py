# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Model observers see as much as theory says, and what is false is what a method made."""

from __future__ import annotations

import cylinder
import numpy as np
import pytest
from faint import faint, half_value_frequency, sharpness
from observers import Seen, area_under_curve, cho_auc, false_structures, found_by_search
from scipy import ndimage, special


def test_area_under_the_curve():
    assert area_under_curve(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1
    assert area_under_curve(np.array([1.0]), np.array([1.0])) == 0.5
    assert area_under_curve(np.array([0.0, 2.0]), np.array([1.0])) == 0.5


def test_the_observer_has_the_area_of_its_detectability():
    """Channels of unit noise that differ by d' in one of them: the area is Phi(d' / sqrt 2)."""
    random, detectability, count = np.random.default_rng(0), 1.5, 4000
    group = np.repeat([0, 1], count // 2)
    absent = Seen(random.normal(size=(count, 5)), group)
    present = Seen(random.normal(size=(count, 5)) + np.array([detectability, 0, 0, 0, 0]), group)

    assert cho_auc(present, absent) == pytest.approx(special.ndtr(detectability / np.sqrt(2)), abs=0.01)
    assert cho_auc(absent, absent) == 0.5


@pytest.fixture(scope="module")
def trial():
    return faint(20, 1, 12)


def test_noisy_images_keep_all_contrast_and_hold_nothing_false(trial):
    figures = trial.measure(trial.noisy)

    assert figures["contrast %"] == pytest.approx(100, abs=1)
    assert figures["shape"] > 0.99
    assert figures["false, ends"] == figures["others"] == 0
    assert figures["left"] == pytest.approx(20, rel=0.02)
    assert 0.5 < figures["AUC"] < 0.97


def test_truth_shows_all_discs(trial):
    figures = trial.measure(trial.truth)

    assert figures["AUC"] == pytest.approx(1)
    assert figures["found %"] == 100
    assert figures["rmse"] == 0


def test_false_structures_are_counted_where_they_are():
    flat = cylinder.flat(8)
    result = flat + cylinder.noise(8, 1.0, 3)
    result[0, 100:106, 100:106] += 20
    result[4, 120:126, 90:96] -= 20
    result[5, 130, 130] += 20

    found = false_structures(result, flat)

    assert found.ends == 1 / 4
    assert found.others == 1 / 4
    assert found.specks == pytest.approx(1 / 8)


def test_a_search_finds_discs_of_great_contrast_and_none_that_are_not_there():
    truth, sites = cylinder.discs(8, 20, 1)
    noise = cylinder.noise(8, 20, 7)

    assert found_by_search([30 * (truth - cylinder.flat(8)) + noise], [sites]) == 100
    assert found_by_search([noise], [sites]) < 20


def test_sharpness_is_that_of_the_blur():
    """Gaussian blurs add in squares; the transfer of one of s pixels is a half at sqrt(ln 2 / 2) / (pi s)."""
    truth, centers = cylinder.rods(1)
    blurred = ndimage.gaussian_filter(truth - cylinder.flat(1), (0, 1.5, 1.5))[0]
    sd = np.hypot(1.5, cylinder.BLUR_PX)

    for hu, center in centers.items():
        assert half_value_frequency(blurred, *center) == pytest.approx(
            np.sqrt(np.log(2) / 2) / (np.pi * sd), rel=0.07
        ), hu


def test_noise_does_not_change_the_sharpness_of_what_was_not_filtered():
    trial = sharpness(1, 4)

    noisy, truth = trial.measure(trial.noisy), trial.measure(trial.truth)

    assert [noisy[f"{hu:.0f} HU"] for hu in cylinder.ROD_HU] == pytest.approx(
        [truth[f"{hu:.0f} HU"] for hu in cylinder.ROD_HU], rel=0.05
    )
