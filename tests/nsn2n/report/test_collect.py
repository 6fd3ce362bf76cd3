# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import jsonschema
import numpy as np
import pytest

from nsn2n import SliceStack, denoise
from nsn2n.report import collect_report, report_schema
from nsn2n.report.write import by_slice, report_html, report_json

BRIEF = {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}, "refit": {"when": "never"}}


def report_of(volume, *, modality=None, **said):
    """Report of an array denoised by a fit of a moment."""
    stack = SliceStack.of(volume, modality=modality, **said)
    return collect_report(stack, denoise(stack, preset="fast", device="cpu", config=BRIEF))


def test_slices_are_those_of_the_volumes(volume, result, data):
    assert [shown.index for shown in data.slices] == [2, 3, 4]
    for shown in data.slices:
        np.testing.assert_array_equal(shown.before, volume[shown.index])
        np.testing.assert_array_equal(shown.after, result.volume[shown.index])
        expected = (volume[shown.index] - result.volume[shown.index]) / result.noise_sd[shown.index]
        np.testing.assert_allclose(shown.removed_sd, expected, rtol=1e-5)


def test_noise_is_what_it_is(data):
    np.testing.assert_allclose(by_slice(data.noise_before), 20, rtol=0.15)
    assert (by_slice(data.noise_after) < 0.95 * by_slice(data.noise_before)).all()
    assert data.noise_before.shape == data.noise_after.shape == (7, 6, 8)
    # White noise of 20 HU in pixels of 1 x 0.5 mm: its power is the variance times their area.
    np.testing.assert_allclose(data.spectrum.before.mean(), 400 * 0.5, rtol=0.3)
    assert data.spectrum.frequency_per_mm.max() <= 0.5
    assert (data.spectrum.removed > 0).all()


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
    data = report_of(np.concatenate(parts), modality="CT", parts=[len(part) for part in parts])

    first, last = (report_of(part, modality="CT") for part in (parts[0], parts[2]))
    for name in ("noise_before", "noise_after"):
        ours, theirs = getattr(data, name), [getattr(part, name) for part in (first, last)]
        np.testing.assert_array_equal(ours[:4], theirs[0])
        np.testing.assert_array_equal(ours[5:], theirs[1])
        assert not ours[4].any()
    np.testing.assert_allclose(by_slice(data.noise_before), [20] * 4 + [0] + [60] * 4, rtol=0.15)
    for name in ("before", "removed"):
        # As many pairs in the one as in the other, and of each as many squares.
        mean = 0.5 * (getattr(first.spectrum, name) + getattr(last.spectrum, name))
        np.testing.assert_allclose(getattr(data.spectrum, name), mean, rtol=1e-6)
    # The slice in the middle has no neighbor; the pair that is nearest to it is shown.
    assert data.middle == 5
    assert data.matched_hw.mean() > 0.5


def test_report_of_parts_says_what_is_shown(parts):
    data = report_of(np.concatenate(parts), parts=[len(part) for part in parts])

    record = report_json(data)
    page = report_html(data, record)

    jsonschema.validate(record, report_schema())
    assert "Same tissue in slices 6 and 7: " in page
    assert "Slices without a neighbor, whose noise is unknown, are drawn as 0: 1." in page


def test_long_losses_are_thinned(stack, result):
    from dataclasses import replace

    loss = np.arange(10_000, dtype=np.float32)

    data = collect_report(stack, replace(result, loss=loss))

    assert len(data.loss) == 200
    assert data.loss[0] == pytest.approx(loss[:50].mean())
    assert data.steps == 10_000


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("shape", [(2, 9, 8), (3, 40, 33)])
@pytest.mark.parametrize("modality", ["MR", "PT"])
def test_small_volumes_with_voxels_that_are_no_numbers(shape, modality):
    volume = np.random.default_rng(0).normal(100, 5, shape).astype(np.float32)
    volume[0, 0, 0], volume[1, 2, 3] = np.nan, np.inf
    data = report_of(volume, modality=modality)

    assert 80 < data.window[0] < data.window[1] < 120
    assert np.isfinite(data.noise_after).all()


def test_a_volume_without_noise():
    data = report_of(np.zeros((3, 32, 32), np.float32))

    assert not by_slice(data.noise_before).any()
    assert data.spectrum.before.size == 0
    assert len(data.loss) == 0


def test_the_slice_with_a_finding_is_shown(stack, result):
    from dataclasses import replace

    from nsn2n.structure_check import Finding

    structure = replace(result.structure, findings=(Finding((6, 1, 2), 7.0, 1.0),))

    data = collect_report(stack, replace(result, structure=structure))

    assert [shown.index for shown in data.slices] == [2, 3, 4, 6]


SPACING = (2.0, 0.5, 0.7)


def test_pixels_that_are_not_square_keep_their_shape_and_their_frequencies(volume):
    """Noise of known power in pixels of 0.5 x 0.7 mm."""
    data = report_of(volume, modality="CT", spacing_mm=SPACING)

    record = report_json(data)
    page = report_html(data, record)

    assert record["spacing_mm"] == list(SPACING)
    assert record["parts"] == [{"slices": 7, "spacing_mm": list(SPACING)}]
    # Up to the highest frequency that all directions have, half a cycle per pixel along the wider side.
    assert 0.9 * 0.5 / 0.7 < data.spectrum.frequency_per_mm.max() <= 0.5 / 0.7
    np.testing.assert_allclose(data.spectrum.before.mean(), 400 * 0.5 * 0.7, rtol=0.3)
    assert f"aspect-ratio: {128 * 0.7 / (96 * 0.5):.4f}" in page
    assert "of 2 x 0.5 x 0.7 mm" in page
    assert "spatial frequency, 1/mm" in page


def test_each_part_has_its_own_spacing(parts):
    """Of a volume with a gap, or whose slices are spaced otherwise further on."""
    spacings = [SPACING, (9.0, 0.5, 0.7), (5.0, 0.5, 0.7)]

    data = report_of(np.concatenate(parts), modality="CT", parts=[4, 1, 4], spacing_mm=spacings)

    record = report_json(data)
    page = report_html(data, record)
    jsonschema.validate(record, report_schema())
    assert record["spacing_mm"] is None
    assert record["parts"] == [
        {"slices": count, "spacing_mm": list(spacing)} for count, spacing in zip([4, 1, 4], spacings, strict=True)
    ]
    assert data.spectrum.frequency_per_mm.max() <= 0.5 / 0.7
    assert "slices 6 to 9 of 5 x 0.5 x 0.7 mm" in page
    assert f"aspect-ratio: {128 * 0.7 / (96 * 0.5):.4f}" in page


def test_volumes_of_one_spacing_have_that_spacing(volume):
    record = report_json(report_of(np.concatenate([volume, volume]), parts=[7, 7], spacing_mm=SPACING))

    assert record["spacing_mm"] == list(SPACING)
    assert [part["slices"] for part in record["parts"]] == [7, 7]


def test_a_spacing_that_is_not_known_is_not_made_up(volume):
    data = report_of(volume)

    record = report_json(data)
    page = report_html(data, record)

    jsonschema.validate(record, report_schema())
    assert record["spacing_mm"] is None
    assert record["parts"] == [{"slices": 7, "spacing_mm": None}]
    assert "spatial frequency, 1/px" in page
    assert "unknown spacing" in page
