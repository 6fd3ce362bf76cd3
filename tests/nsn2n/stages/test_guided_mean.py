# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The guided mean: coarse only where the noise of neighboring pixels is correlated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.stages.guided_mean import guided_mean


def _volume(blur_px):
    noise = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal((6, 64, 64)), (0, blur_px, blur_px))
    return (100 + 5 * noise / noise.std()).astype(np.float32)


def test_noise_is_averaged_over_similar_voxels(make_state, run_stage):
    fractions = []

    after = run_stage(guided_mean(coarse=False), make_state(), progress=lambda fraction, _: fractions.append(fraction))

    assert np.std(after.denoised) < 0.4 * 5
    assert after.step_px == 1
    assert fractions[-1] == 1


@pytest.mark.parametrize(("blur_px", "coarser"), [(0.0, False), (0.8, True)])
def test_the_coarse_mean_follows_where_neighboring_pixels_share_noise(make_state, run_stage, blur_px, coarser):
    fine, coarse = (run_stage(guided_mean(coarse=coarse), make_state(_volume(blur_px))) for coarse in (False, True))

    assert fine.step_px == coarse.step_px == (2 if coarser else 1)
    assert np.array_equal(fine.denoised, coarse.denoised) != coarser
    if coarser:
        assert np.std(coarse.denoised) < 0.9 * np.std(fine.denoised)


def test_the_step_is_measured_once(make_state, run_stage):
    after = run_stage(guided_mean(coarse=False), make_state(_volume(0.8)))

    assert run_stage(guided_mean(coarse=False), after).step_px == after.step_px == 2
