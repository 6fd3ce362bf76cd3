# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is constant around the object takes no part, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.stack.background import box_around, without_background

SHAPE = (3, 60, 60)
ROWS, COLUMNS = np.mgrid[:60, :60]
RADIUS_PX = np.hypot(ROWS - 29.5, COLUMNS - 29.5)
DISK = RADIUS_PX < 18


@pytest.fixture
def noisy():
    return np.random.default_rng(1).normal(100, 20, SHAPE).astype(np.float32)


@pytest.mark.parametrize("value", [0.0, -1024.0, -2000.0, -3024.0])
def test_background_of_any_value(noisy, value):
    measured = without_background(np.where(DISK, noisy, np.float32(value)), None)

    assert np.array_equal(measured, np.broadcast_to(DISK, SHAPE))


def test_it_reaches_into_notches(noisy):
    tissue = DISK.copy()
    tissue[29, :16] = False

    assert np.array_equal(without_background(np.where(tissue, noisy, np.float32(0)), None)[0], tissue)


@pytest.mark.parametrize("border", [np.s_[:1], np.s_[-3:], np.s_[:, :2], np.s_[:, -1:], np.s_[:12]])
def test_rows_and_columns_at_the_border(noisy, border):
    noisy[1][border] = -1024
    expected = np.ones(SHAPE, bool)
    expected[1][border] = False

    assert np.array_equal(without_background(noisy, None), expected)


def test_two_values_of_background(noisy):
    """CT beyond its field of view, and beyond what was reconstructed."""
    outer = np.where(RADIUS_PX < 26, -1024, -3024)

    measured = without_background(np.where(RADIUS_PX < 12, noisy, outer).astype(np.float32), None)

    assert np.array_equal(measured[0], RADIUS_PX < 12)


def test_a_whole_slice(noisy):
    noisy[2] = 0

    assert without_background(noisy, None).any(axis=(1, 2)).tolist() == [True, True, False]


def test_a_volume_that_is_constant_has_no_background():
    assert without_background(np.zeros(SHAPE, np.float32), None) is None


def test_what_was_masked_stays_masked(noisy):
    noisy[:, :12] = 0
    mask = np.ones(SHAPE, bool)
    mask[:, :, :5] = False

    measured = without_background(noisy, mask)

    assert np.array_equal(measured, mask & (ROWS >= 12))


def test_constants_inside_are_measurements(noisy):
    """A cyst of zeros in a skull-stripped brain, or a saturated implant, has noise around it, and is denoised."""
    noisy[:, 20:40, 20:40] = 0
    noisy[:, 30] = 0

    assert without_background(noisy, None) is None


@pytest.mark.parametrize("share", [0.2, 0.5, 0.7, 0.9])
def test_zeros_by_chance_are_measurements(share):
    """Counts around 0, as beside the patient in PET."""
    random = np.random.default_rng(1)
    counts = np.where(random.random((1, 200, 200)) < share, 0, random.exponential(size=(1, 200, 200)))

    measured = without_background(counts.astype(np.float32), None)

    assert measured is None or measured.mean() > 0.97


def test_noise_and_what_is_no_number_are_none(noisy):
    noisy[:, :, :8] = np.nan

    assert without_background(noisy, None) is None


def test_box():
    mask = np.zeros((9, 40, 50), bool)
    mask[3:7, 10:30, 25:45] = True

    box = box_around(mask)

    assert mask[box.place].all()
    assert mask[box.place].shape == (4, 20, 20)
    assert not box.is_whole
    assert box_around(np.ones((9, 40, 50), bool)).is_whole


@pytest.mark.parametrize("place", [(0, 0, 0), (4, 20, 20), (8, 39, 49)])
@pytest.mark.parametrize("shape", [(9, 40, 50), (2, 12, 40)])
def test_a_box_has_a_least_size(place, shape):
    mask = np.zeros(shape, bool)
    mask[tuple(min(index, size - 1) for index, size in zip(place, shape, strict=True))] = True

    place = box_around(mask).place

    assert mask[place].sum() == 1
    assert mask[place].shape == (2, min(16, shape[1]), 16)
