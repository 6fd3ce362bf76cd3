# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import jsonschema
import numpy as np
import pytest

from nsn2n import denoise
from nsn2n.report import collect_report, report_schema
from nsn2n.report.write import by_slice, report_html, report_json

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}, "refit": {"when": "never"}}


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


@pytest.fixture
def parts(volume):
    """Two stacks of other anatomy and other noise, and a slice that stands alone between them."""
    other = np.where(np.indices(volume.shape[1:])[0] < 30, -800.0, 300.0)[None]
    other = other + np.random.default_rng(1).normal(0, 60, (4, *volume.shape[1:]))
    alone = np.full((1, *volume.shape[1:]), 900.0)
    return volume[:4], alone.astype(np.float32), other.astype(np.float32)


def test_nothing_is_compared_across_a_gap(parts):
    """Figures of the whole are those of the parts, each alone."""
    options = {"modality": "CT", "preset": "fast", "device": "cpu", "config": BRIEF}
    whole = np.concatenate(parts)

    data = collect_report(whole, denoise(whole, parts=[len(part) for part in parts], **options))

    first, last = (collect_report(part, denoise(part, **options)) for part in (parts[0], parts[2]))
    for name in ("noise_before", "noise_after"):
        ours, theirs = getattr(data, name), [getattr(part, name) for part in (first, last)]
        np.testing.assert_array_equal(ours[:4], theirs[0])
        np.testing.assert_array_equal(ours[5:], theirs[1])
        assert not ours[4].any()
    np.testing.assert_allclose(by_slice(data.noise_before), [20] * 4 + [0] + [60] * 4, rtol=0.15)
    for name in ("before", "removed", "after"):
        # As many pairs in the one as in the other, and of each as many squares.
        mean = 0.5 * (getattr(first.spectrum, name) + getattr(last.spectrum, name))
        np.testing.assert_allclose(getattr(data.spectrum, name), mean, rtol=1e-6)
    # The slice in the middle has no neighbor; the pair that is nearest to it is shown.
    assert data.middle == 5
    assert data.matched_hw.mean() > 0.5


def test_report_of_parts_says_what_is_shown(parts):
    whole = np.concatenate(parts)
    data = collect_report(whole, denoise(whole, parts=[len(part) for part in parts], preset="fast", config=BRIEF))

    record = report_json(data)
    page = report_html(data, record)

    jsonschema.validate(record, report_schema())
    assert "Same tissue in slices 6 and 7: " in page
    assert "Slices without neighbor, of which nothing is known, are drawn as 0: 1." in page


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

    from nsn2n.structure_check import Finding

    structure = replace(result.structure, findings=(Finding((6, 1, 2), 7.0, 1.0),))

    data = collect_report(volume, replace(result, structure=structure))

    assert [shown.index for shown in data.slices] == [2, 3, 4, 6]
