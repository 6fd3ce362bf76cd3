# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
from scipy import ndimage

from nsn2n.arrays import ranks
from nsn2n.arrays.either import on_device, on_host


@pytest.mark.parametrize("count", [1, 2, 7, 8])
def test_medians_are_those_of_numpy(count, device):
    values = np.random.default_rng(count).standard_normal((3, 5, count)).astype(np.float32)
    there = on_device(values, device)
    np.testing.assert_allclose(on_host(ranks.median(there)), np.median(values, axis=-1), rtol=1e-6)
    assert np.array_equal(ranks.median(values), np.median(values, axis=-1))
    kept = (count + 1) // 2
    expected = np.sort(values, axis=-1)[..., :kept].mean(axis=-1)
    if kept < count:
        np.testing.assert_allclose(ranks.kept_smallest_mean(values, kept), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(on_host(ranks.kept_smallest_mean(there, kept)), expected, rtol=1e-5, atol=1e-6)


def test_medians_leave_out_what_is_missing(device):
    values = np.random.default_rng(0).standard_normal((6, 9)).astype(np.float32)
    for row in range(6):
        values[row, : 2 * row] = np.nan
    values = np.vstack([values, np.full((1, 9), np.nan, np.float32)])
    found = on_host(ranks.nanmedian(on_device(values, device)))
    np.testing.assert_allclose(found[:5], np.nanmedian(values[:5], axis=-1), rtol=1e-6)
    assert np.isnan(found[5:]).all()


@pytest.mark.parametrize("shape", [(7, 6, 5), (1, 2, 1)], ids=str)
def test_the_median_in_a_window_is_that_of_scipy(shape, device):
    values = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    expected = ndimage.median_filter(values, size=(5, 3, 3), mode="nearest")
    assert np.array_equal(ranks.median_filtered(values, (5, 3, 3)), expected)
    assert np.array_equal(on_host(ranks.median_filtered(on_device(values, device), (5, 3, 3))), expected)
