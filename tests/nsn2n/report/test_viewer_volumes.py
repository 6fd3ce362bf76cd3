# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the viewer gets is the series, but for a rounding that noise hides; an independent reader reads the files."""

from __future__ import annotations

import gzip

import nibabel
import numpy as np
import pytest

from nsn2n.report.viewer_volumes import block_map, pack_volumes


@pytest.fixture
def volumes():
    before = np.random.default_rng(1).normal(40, 20, (5, 20, 33)).astype(np.float32)
    return before, before * np.float32(0.5)


def _read(content):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(content))


def _slices(content):
    """Values as (slice, row, column), the first row at the top."""
    return _read(content).get_fdata().T[:, ::-1]


def test_values_are_those_of_the_series_within_half_a_step(volumes):
    packed = pack_volumes(*volumes, 20.0, (2.0, 0.5))

    assert packed.step == 20 / 8
    assert packed.slices == tuple(range(5))
    for content, volume in zip((packed.before, packed.after), volumes, strict=True):
        assert _read(content).get_data_dtype() == np.int16
        np.testing.assert_allclose(_slices(content), volume, atol=packed.step / 2 + 1e-3)
        np.testing.assert_allclose(_read(content).header.get_zooms(), (0.5, 2.0, 1.0))


def test_difference_of_stored_values_fits_and_is_what_was_removed(volumes):
    before, after = volumes
    packed = pack_volumes(before * 1e4, after * -1e4, 0.0, None)
    stored = [np.asarray(_read(content).dataobj.get_unscaled(), np.int64) for content in (packed.before, packed.after)]

    difference = stored[0] - stored[1]

    assert np.abs(difference).max() <= np.iinfo(np.int16).max
    removed = (before + after) * 1e4
    np.testing.assert_allclose(difference.T[:, ::-1] * packed.step, removed, atol=packed.step * 1.01)
    assert packed.pixel_mm == (1.0, 1.0)


def test_what_is_no_number_is_the_lowest_value(volumes):
    before, after = (volume.copy() for volume in volumes)
    before[2, 3, 4], after[2, 3, 4], before[0] = np.nan, np.inf, np.nan

    packed = pack_volumes(before, after, 20.0, None)

    lowest = min(np.nanmin(before), after[np.isfinite(after)].min())
    assert _slices(packed.before)[2, 3, 4] == pytest.approx(lowest, abs=1e-3)
    assert _slices(packed.before)[0].max() == pytest.approx(lowest, abs=1e-3)
    assert np.isfinite(packed.auto_window).all()


def test_an_even_volume_can_be_packed():
    even = np.full((2, 8, 8), 7, np.float32)

    packed = pack_volumes(even, even, 0.0, None)

    np.testing.assert_allclose(_slices(packed.before), 7)
    assert packed.auto_window[0] < packed.auto_window[1]


def test_a_long_series_keeps_what_is_wanted(volumes):
    packed = pack_volumes(*volumes, 20.0, None, {3}, largest_voxels=2 * 20 * 33)

    assert packed.slices == (0, 3)
    np.testing.assert_allclose(_slices(packed.before), volumes[0][[0, 3]], atol=packed.step / 2 + 1e-3)


def test_same_volumes_give_the_same_bytes(volumes):
    assert pack_volumes(*volumes, 20.0, None) == pack_volumes(*volumes, 20.0, None)


def test_squares_lie_on_their_pixels():
    """40 rows are two squares and a half: the last one reaches 8 rows beyond them."""
    blocks = np.full((1, 3, 2), np.nan)
    blocks[0, 2, 1], blocks[0, 0, 0], blocks[0, 1, 0] = 5.0, 0.0, 20.0

    image = _read(block_map(blocks, 40, (2.0, 0.5), 10.0))

    stored = np.asarray(image.dataobj)
    np.testing.assert_array_equal(stored.T[0, ::-1], [[1, 0], [255, 0], [0, 128]])
    # Square (2, 1) has its center at row 39.5 and column 23.5; row 39, the last one, lies at 0 mm.
    np.testing.assert_allclose(image.affine @ [1, 0, 0, 1], [23.5 * 0.5, (39 - 39.5) * 2.0, 0, 1])
