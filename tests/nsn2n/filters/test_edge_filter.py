# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The filter of groups of alike blocks: against its definition, what it lowers, and what it must leave."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy import fft, ndimage

from nsn2n.filters.edge_filter import edge_share, filter_edges
from nsn2n.noise.spectrum import noise_spectrum
from nsn2n.settings import EdgeSettings

SD = 4.0
NOTHING_KEPT = EdgeSettings(keep_sd=1e6)


def even_noise(shape_hw, sd=SD):
    return lambda _: np.full(shape_hw, sd, np.float32)


def filtered(noisy, guide, settings=None, **options):
    result = guide.astype(np.float32).copy()
    filter_edges(
        noisy.astype(np.float32), result, even_noise(noisy.shape[1:]), settings or EdgeSettings(), **options
    )  # fmt: skip
    return result


def disc(shape=(7, 64, 64), contrast_sd=40.0, radius_px=18.0):
    """A disc with a rim of partial volume, the same in all slices."""
    rows, columns = (np.arange(size) - size / 2 + 0.3 for size in shape[1:])
    inside = np.clip(radius_px - np.hypot(rows[:, None], columns), -1, 1) / 2 + 0.5
    return np.broadcast_to(contrast_sd * SD * inside, shape).astype(np.float32)


def left_at_edges(truth, seed=0):
    """A noisy volume, and one denoised as the guided mean leaves it: with its own noise at the edge."""
    noise = SD * np.random.default_rng(seed).standard_normal(truth.shape).astype(np.float32)
    at_edge = edge_share(truth[0], np.full(truth.shape[1:], SD, np.float32), 6.0) > 0
    return truth + noise, truth + 0.7 * noise * at_edge, np.broadcast_to(at_edge, truth.shape)


def by_definition(noisy, guide, power, share_dhw):
    """Groups of blocks, one after the other; ``power`` of the noise in the transform of a block, both in noise sd."""
    depth, height, width = noisy.shape
    corners = [sorted({*range(0, size - 7, 4), size - 8}) for size in (height, width)]
    total, weights = np.zeros(noisy.shape), np.zeros(noisy.shape)
    window = np.outer(np.kaiser(8, 2.0), np.kaiser(8, 2.0))

    def block(volume, corner):
        z, y, x = corner
        return volume[z, y : y + 8, x : x + 8].astype(np.float64)

    def features(corner):
        return (fft.dctn(block(guide, corner), norm="ortho") / np.sqrt(power))[:3, :3]

    for z, y, x in product(range(depth), *corners):
        if not (share_dhw[z, y : y + 8, x : x + 8] > 0).any():
            continue
        alike = []
        for k in range(max(0, z - 3), min(depth, z + 4)):
            reach = 4 if k == z else 1
            for i, j in product(range(y - reach, y + reach + 1), range(x - reach, x + reach + 1)):
                if 0 <= i <= height - 8 and 0 <= j <= width - 8:
                    alike.append((np.square(features((k, i, j)) - features((z, y, x))).sum(), (k, i, j)))
        group = [corner for _, corner in sorted(alike)[:12]]
        guides, values = (
            fft.dctn(np.stack([block(volume, corner) for corner in group]), norm="ortho") for volume in (guide, noisy)
        )
        signal = np.maximum(guides**2 - 4 * power, 0)
        wiener = signal / (signal + power)
        blocks = fft.idctn(wiener * values, norm="ortho")
        weight = window / ((wiener**2 * power).sum() + 1e-3)
        for (k, i, j), filtered_block in zip(group, blocks, strict=True):
            total[k, i : i + 8, j : j + 8] += weight * filtered_block
            weights[k, i : i + 8, j : j + 8] += weight
    return np.where(weights > 0, total / np.maximum(weights, 1e-30), guide)


def test_is_the_definition_with_all_of_the_change_where_the_edge_is_strong():
    truth = disc((5, 22, 25), radius_px=7.0)
    noisy, guide, _ = left_at_edges(truth)
    # A small difference makes the order of groups one and the same however it is computed.
    guide += 0.05 * SD * np.random.default_rng(1).standard_normal(guide.shape).astype(np.float32)
    share = np.stack([edge_share(slice_hw, np.full(slice_hw.shape, SD, np.float32), 6.0) for slice_hw in guide])
    power = noise_spectrum(noisy, even_noise(noisy.shape[1:]), 8)

    expected = SD * by_definition(noisy / SD, guide / SD, power, share)
    change = np.clip(guide - expected, -2 * SD, 2 * SD)
    result = filtered(noisy, guide, NOTHING_KEPT)

    np.testing.assert_allclose(result, guide - share * change, atol=0.01 * SD)
    assert np.abs(change[share > 0]).mean() > 0.1 * SD


def test_lowers_the_noise_of_an_edge_and_leaves_the_rest_as_it_is():
    truth = disc()
    noisy, guide, at_edge = left_at_edges(truth)

    result = filtered(noisy, guide)

    before, after = (np.sqrt(np.square(volume - truth)[at_edge].mean()) for volume in (guide, result))
    assert after < 0.75 * before
    # Noise makes an edge in the guide a little wider than in the truth.
    far = ~ndimage.binary_dilation(at_edge, np.ones((1, 7, 7)))
    assert np.array_equal(result[far], guide[far])


def test_no_voxel_changes_by_more_than_twice_the_noise():
    truth = disc()
    noisy, guide, at_edge = left_at_edges(truth)
    worse = guide + 6 * SD * np.random.default_rng(2).standard_normal(guide.shape).astype(np.float32) * at_edge

    change = filtered(noisy, worse, NOTHING_KEPT) - worse

    assert np.abs(change).max() == pytest.approx(2 * SD, rel=1e-3)


@pytest.mark.parametrize("contrast_sd", [-8.0, 8.0, 20.0])
def test_a_spot_of_one_slice_on_an_edge_keeps_its_contrast(contrast_sd):
    truth = disc()
    noisy, guide, _ = left_at_edges(truth)
    spot = np.zeros(truth.shape, np.float32)
    rows, columns = np.nonzero(np.abs(truth[3] - truth.max() / 2) < 0.2 * truth.max())
    for row, column in ((rows[0], columns[0]), (rows[len(rows) // 2], columns[len(rows) // 2])):
        spot[3, row - 1 : row + 2, column - 1 : column + 2] = contrast_sd * SD

    with_spot = filtered(noisy + spot, guide + spot) - filtered(noisy, guide)

    assert with_spot[spot != 0].mean() == pytest.approx(contrast_sd * SD, rel=0.1)


def test_what_holds_no_measurement_stays():
    truth = disc()
    noisy, guide, at_edge = left_at_edges(truth)
    valid = np.ones(truth.shape, bool)
    valid[:, :32] = False

    result = filtered(noisy, guide, valid=valid)

    assert np.array_equal(result[~valid], guide[~valid])
    assert (result != guide)[at_edge & valid].mean() > 0.5


@pytest.mark.parametrize("shape", [(2, 8, 8), (2, 9, 30), (3, 7, 40), (4, 40, 5)])
def test_small_volumes_come_back(shape):
    truth = disc(shape, radius_px=3.0)
    noisy, guide, _ = left_at_edges(truth)

    result = filtered(noisy, guide)

    assert np.isfinite(result).all()
    assert np.array_equal(result, guide) == (min(shape[1:]) < 8)


def test_the_same_input_gives_the_same_bytes():
    noisy, guide, _ = left_at_edges(disc())

    assert np.array_equal(filtered(noisy, guide), filtered(noisy, guide))


def test_tells_how_far_it_is():
    noisy, guide, _ = left_at_edges(disc((3, 32, 32), radius_px=8.0))
    fractions = []

    filtered(noisy, guide, progress=fractions.append)

    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_an_edge_is_where_near_values_differ_by_more_than_the_noise():
    step = np.zeros((20, 40), np.float32)
    step[:, 10:20], step[:, 20:30], step[:, 30:] = 5 * SD, 13 * SD, 25 * SD

    share = edge_share(step, np.full(step.shape, SD, np.float32), 6.0)

    assert (share[:, 8:12] == 0).all()
    assert share[:, 18:22] == pytest.approx(0.5)
    assert (share[:, 28:32] == 1).all()
    assert (share[:, 13:17] == 0).all()
