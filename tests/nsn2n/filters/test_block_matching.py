# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What groups of blocks give back; the filter itself is held to its definition by ``test_edge_filter.py``."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.filters.block_matching import Groups, filtered_slices
from nsn2n.filters.block_transform import BLOCK_PX

SD = 4.0
SHAPE = (5, 24, 29)


def filtered(noisy, guide, power=1.0):
    groups = Groups(SHAPE[1:], np.full((BLOCK_PX, BLOCK_PX), power, np.float32), 0.0, None, size=8)
    sd = np.full(SHAPE[1:], SD, np.float32)
    slices = filtered_slices(groups, noisy, guide, lambda _: sd, lambda _: np.ones(SHAPE[1:], bool))
    return list(slices)


def waves():
    z, y, x = np.indices(SHAPE)
    return (100 + 5 * SD * np.sin((x + y + 0.2 * z) / 3)).astype(np.float32)


def test_each_slice_comes_once_and_in_order():
    assert [index for index, _ in filtered(waves(), waves())] == [0, 1, 2, 3, 4]


def test_without_noise_the_slices_come_back():
    result = np.stack([SD * slice_hw for _, slice_hw in filtered(waves(), waves(), power=1e-6)])

    np.testing.assert_allclose(result, waves(), atol=0.02 * SD)


@pytest.mark.parametrize("seed", [0, 1])
def test_what_the_guide_does_not_have_goes(seed):
    noise = SD * np.random.default_rng(seed).standard_normal(SHAPE).astype(np.float32)
    result = np.stack([SD * slice_hw for _, slice_hw in filtered(waves() + noise, waves())])

    assert np.std(result - waves()) < 0.5 * SD
