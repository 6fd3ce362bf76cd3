# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The pseudo-CT of a brain is what it says, and what the presets lose of it is in order."""

from __future__ import annotations

import numpy as np
import pytest
from brain import HEAD, make_brain, soft_kernel_noise
from trial import detail_figures

from nsn2n import denoise

BRIEF = {"fit": {"steps": 50}, "contrast_kept": False}

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


def test_default_loses_less_detail_than_smooth(brain):
    default, smooth = (
        detail_figures(
            denoise(brain.noisy, modality="CT", preset=name, device="cpu", config=BRIEF).volume,
            brain.noisy,
            brain.truth,
            brain.inside,
        )
        for name in ("default", "smooth")
    )

    assert default["rmse"] < smooth["rmse"]
    assert default["detail %"] < 0.5 * smooth["detail %"]
    assert default["fine %"] < 0.5 * smooth["fine %"]
