# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.report import collect_report
from nsn2n.report.write import by_slice

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "layers": 2}, "refit": {"when": "never"}}


def test_slices_are_those_of_the_volumes(volume, result, data):
    assert [shown.index for shown in data.slices] == [2, 3, 4]
    for shown in data.slices:
        np.testing.assert_array_equal(shown.before, volume[shown.index])
        np.testing.assert_array_equal(shown.after, result.volume[shown.index])
        expected = (volume[shown.index] - result.volume[shown.index]) / result.noise_sd[shown.index]
        np.testing.assert_allclose(shown.removed_sd, expected, rtol=1e-5)


def test_noise_is_what_it_is(data):
    np.testing.assert_allclose(by_slice(data.noise_before), 20, rtol=0.15)
    assert (by_slice(data.noise_after) < 0.8 * by_slice(data.noise_before)).all()
    assert data.noise_before.shape == data.noise_after.shape == (7, 6, 8)
    # White noise of 20 HU in pixels of 1 x 0.5 mm: its power is the variance times their area.
    np.testing.assert_allclose(data.spectrum.before.mean(), 400 * 0.5, rtol=0.3)
    assert data.spectrum.frequency_per_mm.max() <= 0.5
    assert (data.spectrum.after < data.spectrum.before).all()


def test_curves_and_maps_have_their_shapes(data, result):
    assert len(data.loss) == data.steps == len(result.loss) == 30
    assert data.matched_hw.shape == data.excess_hw.shape == (96, 128)
    assert 0.5 < data.matched_hw.mean() <= 1
    assert data.window == (-160.0, 240.0)


def test_long_losses_are_thinned(volume, result):
    from dataclasses import replace

    loss = np.arange(10_000, dtype=np.float32)

    data = collect_report(volume, replace(result, loss=loss))

    assert len(data.loss) == 200
    assert data.loss[0] == pytest.approx(loss[:50].mean())
    assert data.steps == 10_000
    assert data.spacing_mm == (1.0, 1.0, 1.0)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("shape", [(2, 9, 8), (3, 40, 33)])
@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_small_volumes_with_voxels_that_are_no_numbers(shape, modality):
    volume = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    volume[0, 0, 0], volume[1, 2, 3] = np.nan, np.inf
    result = denoise(volume, modality=modality, preset="fast", config=BRIEF)

    data = collect_report(volume, result)

    assert 80 < data.window[0] < data.window[1] < 120
    assert np.isfinite(data.noise_after).all()


def test_a_volume_without_noise():
    volume = np.zeros((3, 32, 32), np.float32)
    data = collect_report(volume, denoise(volume, preset="fast", config=BRIEF))

    assert not by_slice(data.noise_before).any()
    assert data.spectrum.before.size == 0
    assert len(data.loss) == 0


def test_the_slice_with_a_finding_is_shown(volume, result):
    from dataclasses import replace

    from nsn2n.structure import Finding

    structure = replace(result.structure, findings=(Finding((6, 1, 2), 7.0, 1.0),))

    data = collect_report(volume, replace(result, structure=structure))

    assert [shown.index for shown in data.slices] == [2, 3, 4, 6]
