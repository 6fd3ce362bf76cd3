# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is constant around the object comes back bit for bit, and nothing else is taken for it."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.stages.constant_background import constant_background, in_constant_background

ROWS, COLUMNS = np.mgrid[:40, :40]
DISK = np.hypot(ROWS - 19.5, COLUMNS - 19.5) < 14


@pytest.mark.parametrize("value", [0.0, -1024.0, -2000.0, -3024.0])
def test_background_of_any_value_is_that_of_the_source(make_state, run_stage, noisy_dhw, value):
    volume = np.where(DISK, noisy_dhw, np.float32(value))

    after = run_stage(constant_background(), make_state(volume))

    assert (after.denoised[:, ~DISK] == value).all()
    assert (after.denoised[:, DISK] == 100).all()


def test_it_reaches_into_notches(noisy_dhw):
    tissue = DISK.copy()
    tissue[19, :12] = False

    background = in_constant_background(np.where(tissue, noisy_dhw[0], np.float32(0)))

    assert np.array_equal(background, ~tissue)


def test_padding_at_one_edge_is_background(noisy_dhw):
    padded = noisy_dhw[0].copy()
    padded[:3] = 0

    assert np.array_equal(in_constant_background(padded), ROWS < 3)


def test_two_values_of_background(noisy_dhw):
    """CT beyond its field of view, and beyond what was reconstructed."""
    radius_px = np.hypot(ROWS - 19.5, COLUMNS - 19.5)
    outer = np.where(radius_px < 18, -1024, -3024)

    background = in_constant_background(np.where(radius_px < 8, noisy_dhw[0], outer).astype(np.float32))

    assert np.array_equal(background, radius_px >= 8)


def test_constants_inside_are_none(noisy_dhw):
    """A cyst of zeros in a skull-stripped brain, or a saturated implant, has noise around it, and is denoised."""
    inside = noisy_dhw[0].copy()
    inside[15:25, 15:25] = 0

    assert not in_constant_background(inside).any()


@pytest.mark.parametrize("zeros", [0.2, 0.5, 0.7])
def test_zeros_by_chance_are_none(zeros):
    """Counts around 0, as beside the patient in PET: what lies among them would be denoised, and they would not."""
    random = np.random.default_rng(1)
    counts = np.where(random.random((200, 200)) < zeros, 0, random.exponential(size=(200, 200))).astype(np.float32)

    assert in_constant_background(counts).mean() < 0.01


def test_noise_and_what_is_no_number_are_none(noisy_dhw):
    with_gap = noisy_dhw[0].copy()
    with_gap[:, :8] = np.nan

    assert not in_constant_background(with_gap).any()
