# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which arrays are volumes, which voxels take part, and what stands in for those that do not."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.stack.validation import checked_mask, checked_values, fill_invalid


@pytest.mark.parametrize(
    ("volume", "message"),
    [
        (np.zeros((8, 8), np.float32), r"axes \(D, H, W\); got shape \(8, 8\)"),
        (np.zeros((2, 3, 8, 8), np.float32), r"axes \(D, H, W\); got shape \(2, 3, 8, 8\)"),
        (np.zeros((3, 8, 8), np.complex64), "real numbers; got dtype complex64"),
        (np.zeros((3, 8, 8), bool), "real numbers; got dtype bool"),
        (np.full((3, 8, 8), "a"), "real numbers; got dtype <U1"),
        (np.full((3, 8, 8), None), "real numbers; got dtype object"),
        (np.zeros((1, 8, 8), np.float32), r"at least 2 slices .* got shape \(1, 8, 8\)"),
        (np.zeros((0, 8, 8), np.float32), r"at least 2 slices .* got shape \(0, 8, 8\)"),
        (np.zeros((4, 0, 8), np.float32), r"at least 1 pixel.* got shape \(4, 0, 8\)"),
        (np.full((2, 8, 8), 1e39), "fit float32; got magnitudes beyond 3.4e"),
        (np.full((2, 8, 8), -1e39), "fit float32"),
    ],
)
def test_what_is_no_volume_is_refused(volume, message):
    with pytest.raises(VolumeError, match=message):
        checked_values(volume)


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(VolumeError, match=r"mask must have the volume's shape \(2, 3, 4\); got \(2, 3\)"):
        checked_mask(np.zeros((2, 3, 4), np.float32), np.zeros((2, 3), bool))


@pytest.mark.parametrize("dtype", ["u1", "i2", ">i2", "u2", "i4", "i8", "f2", "f4", ">f4", "f8"])
def test_real_numbers_become_float32_of_the_same_values(dtype):
    volume = np.arange(24).reshape(2, 3, 4).astype(dtype)

    volume_dhw = checked_values(volume)

    assert volume_dhw.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(volume_dhw, np.arange(24).reshape(2, 3, 4))
    assert checked_mask(volume_dhw, None) is None


def test_lists_are_taken_too():
    volume_dhw = checked_values([[[1, 2]], [[3, 4]]])

    np.testing.assert_array_equal(volume_dhw, np.array([[[1, 2]], [[3, 4]]], np.float32))


def test_float32_is_not_copied():
    volume = np.zeros((2, 3, 4), np.float32)

    assert np.shares_memory(checked_values(volume), volume)


def test_memory_that_tensors_cannot_use_is_copied():
    volume = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    locked = volume.copy()
    locked.flags.writeable = False

    for source in (volume[::-1], volume[:, :, ::-1], volume.T, locked):
        volume_dhw = checked_values(source)
        np.testing.assert_array_equal(volume_dhw, source)
        assert volume_dhw.flags.c_contiguous
        assert volume_dhw.flags.writeable
        assert not np.shares_memory(volume_dhw, source)


def test_what_is_not_finite_or_excluded_takes_no_part():
    volume = np.zeros((2, 3, 4), np.float32)
    volume[0, 0, 0], volume[0, 1, 1], volume[1, 2, 3] = np.nan, np.inf, -np.inf
    mask = np.ones(volume.shape, bool)
    mask[1, 0, 0] = mask[0, 0, 0] = False

    valid = checked_mask(volume, mask)

    expected = np.ones(volume.shape, bool)
    expected[[0, 0, 1, 1], [0, 1, 2, 0], [0, 1, 3, 0]] = False
    np.testing.assert_array_equal(valid, expected)


def test_a_mask_that_excludes_nothing_is_no_mask():
    assert checked_mask(np.zeros((2, 3, 4), np.float32), np.ones((2, 3, 4), np.uint8)) is None


def test_invalid_voxels_take_the_nearest_valid_value_of_their_slice():
    volume = np.array([[[1, 2, np.nan, 8]], [[np.nan, 5, 6, np.inf]]], np.float32)

    # In slice 0 the neighbors 2 and 8 are equally near.
    filled = fill_invalid(volume, np.isfinite(volume))

    assert filled[0, 0, 2] in (2, 8)
    np.testing.assert_array_equal(filled[0, 0, [0, 1, 3]], [1, 2, 8])
    np.testing.assert_array_equal(filled[1, 0], [5, 5, 6, 6])


def test_filling_looks_along_both_axes():
    volume = np.full((1, 5, 7), -2000, np.float32)
    valid = np.zeros(volume.shape, bool)
    for row, column, value in ((0, 0, 1.0), (4, 6, 2.0)):
        volume[0, row, column], valid[0, row, column] = value, True

    filled = fill_invalid(volume, valid)

    rows, columns = np.indices((5, 7))
    first, last = rows**2 + columns**2, (rows - 4) ** 2 + (columns - 6) ** 2
    assert (filled[0][first < last] == 1).all()
    assert (filled[0][first > last] == 2).all()
    assert (volume[~valid] == -2000).all()  # the input stays as it was


def test_a_slice_without_valid_voxels_becomes_zero():
    volume = np.full((2, 3, 4), np.nan, np.float32)
    volume[1] = 3

    filled = fill_invalid(volume, np.isfinite(volume))

    assert not filled[0].any()
    assert (filled[1] == 3).all()


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("dtype", "far"), [("i4", 1.9e9), ("i8", 1.9e9), ("i8", 5e18), ("f8", 1.9e9), ("f8", 2e11)])
def test_noise_that_float32_rounds_away_is_refused(dtype, far, sign):
    noise = np.random.default_rng(4).normal(0, 15, (4, 9, 11)).round().astype(np.int64)
    volume = (int(sign * far) + noise).astype(dtype)
    with pytest.raises(
        VolumeError, match=r"to a quarter of its noise; got values around .*Subtract an offset"
    ) as caught:
        checked_values(volume)
    assert "\n" not in str(caught.value)
    np.testing.assert_array_equal(checked_values(volume - volume.dtype.type(int(sign * far))), noise)


@pytest.mark.parametrize(
    "volume",
    [
        np.full((3, 4, 5), 1e9 + 0.1),
        np.full((3, 4, 5), 0.1) + np.spacing(0.1) * (np.arange(60).reshape(3, 4, 5) % 2),
        1e9 * np.random.default_rng(4).random((3, 4, 5)),
        2**24 - 60 + np.arange(60).reshape(3, 4, 5),
        np.full((3, 4, 5), np.nan),
        np.full((3, 4, 5), 1234567890, np.int32),
    ],
    ids=["constant", "rounded", "from zero", "whole numbers", "nothing", "constant integers"],
)
def test_what_has_no_noise_far_from_zero_is_taken(volume):
    np.testing.assert_array_equal(checked_values(volume), volume.astype(np.float32))
