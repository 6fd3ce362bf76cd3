# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a volume that are like an earlier one are denoised by its fit; the others get their own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n import denoise
from nsn2n.earlier_fits import EarlierFits, levels_of
from nsn2n.pipeline import measured_state
from nsn2n.runtime.compute import choose_compute
from nsn2n.settings import Settings

SHAPE, SD = (6, 48, 48), 5.0
LARGER = (12, 96, 96)
STEPS = {"fit": {"steps": 20, "crop_px": 32}, "refit": {"steps": 20}, "contrast_kept": False}


def textured(factor=1.0, shape=SHAPE):
    texture = ndimage.gaussian_filter(np.random.default_rng(0).standard_normal(shape), (2, 4, 4))
    return 100 + factor * 20 * texture / texture.std()


def noisy(seed, factor=1.0, sd=SD, shape=SHAPE):
    return (textured(factor, shape) + np.random.default_rng(seed).normal(0, sd, shape)).astype(np.float32)


def state_of(volume):
    return measured_state(volume, None, None, Settings(), choose_compute("cpu"))


def kept(fits, name, volume):
    fits.add(name, replace(state_of(volume), again=lambda state: state))


@pytest.mark.parametrize(
    ("factor", "sd", "moved", "name"),
    [
        (1.0, SD, 0, "part 1"),
        (1.05, SD, 0, "part 1"),
        (1.0, SD, 5, "part 1"),
        (0.5, SD, 0, "part 2"),
        (0.75, SD, 0, None),
        (1.3, SD, 0, None),
        (1.0, 1.2 * SD, 0, None),
        (1.0, 0.8 * SD, 0, None),
    ],
)
def test_a_fit_serves_where_noise_and_contrast_are_similar(factor, sd, moved, name):
    fits = EarlierFits()
    kept(fits, "part 1", noisy(1, shape=LARGER))
    kept(fits, "part 2", noisy(2, factor=0.5, shape=LARGER))
    found = fits.put_into(state_of(np.roll(noisy(7, factor, sd, LARGER), moved, 2)))
    assert (found and found.measured.start) == name


def test_a_volume_that_was_not_fitted_leaves_no_fit():
    fits = EarlierFits()
    fits.add("part 1", state_of(noisy(1)))
    assert fits.put_into(state_of(noisy(1))) is None


def test_noise_does_not_count_as_contrast():
    flat = np.random.default_rng(0).normal(0, SD, (12, 64, 64)).astype(np.float32)
    assert levels_of(state_of(flat))[1:] == pytest.approx([SD] * 3, rel=0.05)


@pytest.mark.parametrize("shape", [(2, 5, 40), (3, 8, 8)])
def test_small_volumes_have_levels(shape):
    volume = np.random.default_rng(0).normal(0, SD, shape).astype(np.float32)
    levels = levels_of(state_of(volume))
    assert len(levels) == 4
    assert min(levels) > 0


@pytest.mark.parametrize("modality", ["CT", "MR", "PT"])
def test_similar_parts_share_a_fit(modality):
    volume = np.concatenate([noisy(1), noisy(2), noisy(3, factor=0.3)])
    result = denoise(volume, parts=(6, 6, 6), modality=modality, config=STEPS)
    starts = [measured.start for _, measured in result.parts]
    assert starts == ["bundle", "part 1", "bundle"]
    assert [bool(measured.steps) for _, measured in result.parts] == [True, False, True]
    assert "3 parts, denoised by 2 fits" in result.summary()
    shared = result.volume[6:12] - textured()
    alone = denoise(volume[6:12], modality=modality, config=STEPS).volume - textured()
    assert shared.std() < 1.05 * alone.std()
    # The first part does not know of the others.
    first = denoise(volume[:6], modality=modality, config=STEPS)
    assert np.array_equal(first.volume, result.volume[:6])


def test_parts_are_fitted_alone_where_that_is_asked_for():
    volume = np.concatenate([noisy(1), noisy(2)])
    result = denoise(volume, parts=(6, 6), config={**STEPS, "fit": {**STEPS["fit"], "reuse": False}})
    assert [measured.start for _, measured in result.parts] == ["bundle", "bundle"]
    assert "2 parts, each fitted alone" in result.summary()
