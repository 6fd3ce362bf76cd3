# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark of brain detail: its input is what it says, and it measures what was done to it."""

from __future__ import annotations

import numpy as np
import pytest
from brain import HEAD, make_brain, scores, soft_kernel_noise
from scipy import ndimage

from nsn2n import denoise

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not HEAD.is_file(), reason=f"needs {HEAD}")]


@pytest.fixture(scope="module")
def brain():
    return make_brain(5, 4.0, 1, 5)


def test_it_is_a_brain_in_noise(brain):
    assert brain.truth.shape == brain.noisy.shape == brain.inside.shape
    assert (brain.noisy - brain.truth).std() == pytest.approx(4.0, rel=0.01)
    assert 20 < brain.truth[brain.inside].mean() < 40
    assert brain.inside.mean() > 0.2


def test_noise_has_no_memory_from_slice_to_slice_and_a_band_in_the_plane():
    noise = soft_kernel_noise((4, 128, 128), 10.0, 3)

    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1
    assert np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1] > 0.5


def test_halves_share_no_slice(brain):
    other = make_brain(5, 4.0, 0, 5)

    assert other.truth.shape != brain.truth.shape or not np.array_equal(other.truth, brain.truth)


def test_scores_are_those_of_what_was_done(brain):
    detail = brain.truth - ndimage.gaussian_filter(brain.truth, (0, 6, 6))

    assert scores(brain, brain.noisy) == pytest.approx((4.0, 0, 0, 4.0), abs=0.15)
    assert scores(brain, brain.truth)[1:3] == pytest.approx((0, 0), abs=3)
    assert scores(brain, brain.truth - 0.2 * detail)[1] == pytest.approx(20, abs=3)


def test_default_loses_less_detail_than_smooth(brain):
    default, smooth = (
        scores(
            brain, denoise(brain.noisy, modality="CT", preset=name, device="cpu", config={"fit": {"steps": 50}}).volume
        )
        for name in ("default", "smooth")
    )

    assert default[0] < smooth[0]
    assert default[1] < 0.5 * smooth[1]
    assert default[2] < 0.5 * smooth[2]
