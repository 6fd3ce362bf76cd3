# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Spots have the contrast that is asked for and keep apart; what is kept of them is measured."""

from __future__ import annotations

import numpy as np
import pytest
from spots import KINDS, Kind, add_spots, contrast_kept, disc, place_spots

SHAPE = (24, 120, 120)


@pytest.fixture(scope="module")
def spots():
    return place_spots(np.ones(SHAPE, bool), np.full(SHAPE, 2.0, np.float32))


@pytest.mark.parametrize(("diameter", "pixels"), [(2, 4), (3, 9), (5, 21)])
def test_disc_has_the_pixels_within_its_radius(diameter, pixels):
    offsets = disc(diameter)
    assert len(offsets) == len(np.unique(offsets, axis=0)) == pixels
    assert np.ptp(offsets, axis=0).tolist() == [diameter - 1, diameter - 1]


def test_there_are_equally_many_spots_of_each_kind_bright_and_dark(spots):
    counts = {kind: sum(spot.kind == kind for spot in spots) for kind in KINDS}
    assert len(set(counts.values())) == 1
    assert counts[KINDS[0]] >= 3
    assert {np.sign(spot.contrast) for spot in spots if spot.kind == KINDS[0]} == {-1, 1}


def test_contrast_is_counted_in_the_noise_at_the_place():
    noise_sd = np.full(SHAPE, 2.0, np.float32)
    noise_sd[:, :60] = 7.0
    for spot in place_spots(np.ones(SHAPE, bool), noise_sd):
        assert abs(spot.contrast) / spot.kind.noise_sds in set(spot.of(noise_sd).ravel().tolist())


def test_spots_touch_neither_each_other_nor_the_border(spots):
    taken = np.zeros(SHAPE, int)
    for spot in spots:
        box = (slice(spot.slices.start - 1, spot.slices.stop + 1), slice(spot.rows.min() - 3, spot.rows.max() + 4),
               slice(spot.columns.min() - 3, spot.columns.max() + 4))  # fmt: skip
        assert not taken[box].any()
        taken[spot.slices, spot.rows, spot.columns] += 1
        assert spot.slices.stop - spot.slices.start == spot.kind.slices
    assert taken.max() == 1
    assert not taken[:1].any()
    assert not taken[:, :4].any()


def test_spots_stay_in_the_tissue_and_the_slices():
    tissue = np.zeros(SHAPE, bool)
    tissue[:, 20:100, 20:100] = True
    spots = place_spots(tissue, np.ones(SHAPE, np.float32), slices=slice(12, 24))
    assert spots
    for spot in spots:
        assert spot.of(tissue).all()
        assert spot.slices.start >= 12


def test_no_dark_spot_where_it_would_fall_below_zero():
    tissue, noise_sd = np.ones(SHAPE, bool), np.ones(SHAPE, np.float32)
    floor = np.full(SHAPE, 4.0, np.float32)
    spots = place_spots(tissue, noise_sd, floor_dhw=floor)
    assert {spot.kind.noise_sds for spot in spots if spot.contrast < 0} == {3}
    assert add_spots(floor, spots).min() == 1


def test_no_spots_without_room():
    assert place_spots(np.ones((6, 40, 40), bool), np.ones((6, 40, 40), np.float32)) == []


def test_contrast_kept_of_known_outputs(spots):
    plain = np.random.default_rng(0).normal(0, 1, SHAPE).astype(np.float32)
    added = add_spots(plain, spots)
    voxels = sum(spot.kind.slices * len(spot.rows) for spot in spots)
    assert np.count_nonzero(added - plain) == voxels
    assert contrast_kept(added, plain, spots) == pytest.approx(dict.fromkeys(KINDS, 1.0), rel=1e-5)
    assert contrast_kept(plain + 0.25 * (added - plain), plain, spots)[KINDS[3]] == pytest.approx(0.25, rel=1e-5)

    deep = [spot for spot in spots if spot.kind.slices == 3]
    middle_only = plain.copy()
    for spot in deep:
        middle_only[spot.slices.start + 1, spot.rows, spot.columns] += spot.contrast
    assert contrast_kept(middle_only, plain, deep)[Kind(3, 3, 3)] == pytest.approx(1 / 3, rel=1e-5)
