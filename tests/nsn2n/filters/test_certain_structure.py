# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is certain comes back, and noise stays removed."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.filters.certain_structure import restore_certain_structure

SHAPE = (4, 80, 80)
SD = 5.0
ROWS, COLUMNS = np.mgrid[:80, :80]


def noise_sd(_index):
    return np.full(SHAPE[1:], SD, np.float32)


def restored(truth, weakened, seed=0):
    noise = np.random.default_rng(seed).normal(0, SD, SHAPE)
    noisy = (truth + noise).astype(np.float32)
    result = (weakened + 0.1 * noise).astype(np.float32)
    before = result.copy()
    restore_certain_structure(noisy, result, noise_sd)
    return before, result


@pytest.mark.parametrize("contrast_sd", [5, -8])
def test_a_weakened_structure_gets_its_contrast_back(contrast_sd):
    shape = np.hypot(ROWS - 40, COLUMNS - 40) < 3
    detail = np.broadcast_to(contrast_sd * SD * shape, SHAPE)

    before, result = restored(100 + detail, 100 + 0.7 * detail)

    weak, kept = ((volume[:, shape].mean() - 100) / (contrast_sd * SD) for volume in (before, result))
    assert weak == pytest.approx(0.7, abs=0.05)
    assert kept > 0.87
    np.testing.assert_array_equal(result[:, :20, :20], before[:, :20, :20])


def test_noise_alone_is_no_structure():
    before, result = restored(np.full(SHAPE, 100.0), np.full(SHAPE, 100.0))

    assert (result != before).mean() < 1e-3


def test_correlated_noise_is_judged_by_its_own_means():
    noise = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=SHAPE), (0, 1.2, 1.2))
    noisy = (100 + noise * SD / noise.std()).astype(np.float32)
    result = np.full(SHAPE, 100, np.float32)

    restore_certain_structure(noisy, result, noise_sd)

    assert (result != 100).mean() < 5e-3
