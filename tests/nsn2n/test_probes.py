# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Discs in a volume: where they lie, and that what is said of them is what became of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.contrast_kept import CONTRASTS_SD, DIAMETERS_MM
from nsn2n.noise.level import NoiseMap
from nsn2n.probes import place_probes

SHAPE, SD = (80, 256, 256), 5.0  # slices enough for a part of the whole plane
SPACING_MM = (2.0, 0.5, 0.5)


def placed(volume=None, *, valid=None, air=None, seed=0, spacing_mm=SPACING_MM):
    volume = np.full(SHAPE, 100, np.float32) if volume is None else volume
    noise = NoiseMap(np.full((1, 1, 1), SD, np.float32), np.full(volume.shape, SD, np.float32), SD)
    return place_probes(volume, noise, valid, spacing_mm, air=air, seed=seed)


def changed(probes, volume):
    """What the discs add to a volume, shape (D, H, W)."""
    part = volume[probes.place]
    change = np.zeros_like(volume)
    change[probes.place] = probes.put_into(part) - part
    return change


def kept_of(probes, change):
    return {(cell.diameter_mm, cell.contrast_sd): cell for cell in probes.measured(change).cells}


def test_all_is_kept_where_nothing_is_done():
    volume = np.full(SHAPE, 100, np.float32)
    probes = placed(volume)

    kept = kept_of(probes, changed(probes, volume)[probes.place])

    assert set(kept) == {(diameter, contrast) for diameter in DIAMETERS_MM for contrast in CONTRASTS_SD}
    assert [cell.kept for cell in kept.values()] == pytest.approx([1.0] * 9, abs=1e-4)
    assert all(cell.discs >= 4 for cell in kept.values())


def test_a_factor_is_found_and_a_blur_takes_most_of_what_is_small():
    volume = np.full(SHAPE, 100, np.float32)
    probes = placed(volume)
    change = changed(probes, volume)[probes.place]

    assert [cell.kept for cell in kept_of(probes, 0.4 * change).values()] == pytest.approx([0.4] * 9, abs=1e-4)
    blurred = kept_of(probes, ndimage.gaussian_filter(change, (0, 3, 3)))
    # The middle of a disc of radius r keeps 1 - exp(-r^2 / 2 s^2) of its height, the ring has a little of it.
    for diameter in DIAMETERS_MM:
        middle = 1 - math.exp(-((diameter / 2 / 0.5) ** 2) / (2 * 3**2))
        assert middle - 0.35 < blurred[diameter, 1.0].kept < middle


def test_the_map_shows_where_less_is_kept():
    volume = np.full(SHAPE, 100, np.float32)
    probes = placed(volume)
    change = changed(probes, volume)[probes.place]
    change[:, :, 128:] *= 0.5

    ((index, map_hw),) = probes.measured(change).maps

    assert index == 39
    left, right = np.nanmean(map_hw[60:200, :70]), np.nanmean(map_hw[60:200, -70:])
    # The level is that of few discs of one kind, the difference of all.
    assert left > 0.75
    assert 1.6 < left / right < 2.2


@pytest.mark.parametrize(
    ("pixel_mm", "expected"),
    [
        # Discs of 7 px in one slice, 20 px in two, 79 px in four: times the contrast the root must be 5.
        (1.0, {(3.0, 2.0), (5.0, 1.0), (5.0, 2.0), (10.0, 0.5), (10.0, 1.0), (10.0, 2.0)}),
        # Those of 5 mm are 2.5 pixels across.
        (2.0, {(10.0, 1.0), (10.0, 2.0)}),
    ],
)
def test_discs_that_can_be_seen_count(pixel_mm, expected):
    probes = placed(spacing_mm=(2.5, pixel_mm, pixel_mm))
    change = changed(probes, np.full(SHAPE, 100, np.float32))[probes.place]

    cells = probes.measured(change).cells

    assert {(cell.diameter_mm, cell.contrast_sd) for cell in cells if cell.visible} == expected


def test_little_room_is_for_discs_that_count_first():
    probes = placed(np.full((6, 110, 110), 100, np.float32))

    first, count = probes.discs[:8], len({disc.kind for disc in probes.discs if disc.kind.visible})
    assert len({disc.kind for disc in first}) == count == 8
    assert all(disc.kind.visible for disc in first)


def test_few_discs_make_no_map():
    volume = np.full((6, 64, 64), 100, np.float32)
    probes = placed(volume)

    found = probes.measured(changed(probes, volume)[probes.place])

    assert 1 <= len(probes.discs) < 9
    assert found.cells
    assert found.maps == ()


def test_discs_lie_in_tissue_away_from_edges_from_what_is_no_measurement_and_from_each_other():
    volume = np.full(SHAPE, 100, np.float32)
    volume[:, :, :80] = 0
    volume[:, 120:124, 120:124] = 400
    valid = np.ones(SHAPE, bool)
    valid[40, 200:] = False

    probes = placed(volume, valid=valid, air=0.0)

    change = np.abs(changed(probes, volume)).max(axis=0)
    assert change.any()
    assert not change[:, :80].any()
    assert not change[115:129, 115:129].any()
    assert not change[200:].any()
    _, count = ndimage.label(ndimage.binary_dilation(change > 0, iterations=5))
    assert count == len(probes.discs)


def test_a_disc_is_as_deep_as_it_is_wide_but_no_deeper_than_five_slices():
    deep = {}
    for thick_mm in (1.0, 5.0):
        for disc in placed(spacing_mm=(thick_mm, 0.5, 0.5)).discs:
            deep[thick_mm, disc.kind.diameter_mm] = disc.slices.stop - disc.slices.start
    assert deep == {(1, 3): 3, (1, 5): 5, (1, 10): 5, (5, 3): 1, (5, 5): 1, (5, 10): 2}


def test_a_disc_is_round_in_mm():
    probes = placed(spacing_mm=(2.0, 0.5, 1.0))
    disc = max(probes.discs, key=lambda disc: disc.kind.diameter_mm)

    change = np.abs(changed(probes, np.zeros(SHAPE, np.float32))).max(axis=0)[
        disc.row - 13 : disc.row + 14, disc.column - 13 : disc.column + 14
    ]

    rows, columns = (np.flatnonzero((change > abs(disc.change) / 2).any(axis=axis)) for axis in (1, 0))
    assert (np.ptp(rows) + 1) * 0.5 == pytest.approx(10, abs=1)
    assert (np.ptp(columns) + 1) * 1.0 == pytest.approx(10, abs=1)


def test_a_part_of_a_large_plane_is_taken_where_there_is_most_room():
    volume = np.zeros((12, 320, 320), np.float32)
    volume[:, 130:, 20:170] = 100

    slices, rows, columns = placed(volume, air=0.0).place

    assert slices == slice(1, 10)
    assert 160 <= rows.stop - rows.start == columns.stop - columns.start < 320
    assert rows.start >= 130
    assert columns.start <= 20


def test_no_room():
    assert not placed(np.full((4, 16, 16), 100, np.float32)).discs
    assert not placed(np.zeros((4, 64, 64), np.float32), air=0.0).discs


def test_the_same_seed_gives_the_same_discs():
    assert placed(seed=3) == placed(seed=3)
    assert placed(seed=3) != placed(seed=4)
