# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The trained network is mixed in, of the copy as of the volume, and a spot of one slice keeps its contrast."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.settings import Settings
from nsn2n.stages.tissue_network import tissue_network

PLACE = (3, slice(19, 22), slice(19, 22))


def flat(other):
    """A fit that sees nothing but even tissue."""
    return replace(other, denoised=np.full_like(other.filled, 100))


@pytest.fixture
def state(make_state, noisy_dhw):
    noisy_dhw[PLACE] += 35
    return replace(flat(make_state(noisy_dhw, settings=Settings())), again=flat)


def test_a_spot_that_the_fit_erased_keeps_its_contrast(state, run_stage):
    after = run_stage(tissue_network(), state)

    assert after.denoised[PLACE].mean() > 100 + 0.7 * 35
    around = np.ones(after.denoised.shape, bool)
    around[2:5, 14:27, 14:27] = False
    assert after.denoised[around].std() < 1.5  # of a noise of 5


def test_the_copy_gets_the_same(state, run_stage):
    after = run_stage(tissue_network(), state)

    again = after.again(replace(state, denoised=None))

    np.testing.assert_array_equal(again.denoised, after.denoised)
