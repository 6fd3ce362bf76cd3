# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbors are compared where both hold a measurement, and slices of a sheared stack as they were denoised."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from nsn2n import SliceStack, denoise
from nsn2n.report import collect_report
from nsn2n.report.neighbors import Neighbors
from nsn2n.report.write import by_slice, report_html, report_json

# With a strength of 0 the volume stays as it is, and what is reported of it after is what was before.
OPTIONS = {
    "preset": "paper",
    "device": "cpu",
    "strength": 0,
    "config": {"fit": {"steps": 3, "epochs": None, "crop_px": 16}, "network": {"channels": 4, "levels": 2}},
}
DEPTH, SIZE = 12, 96


@pytest.fixture(scope="module")
def anatomy():
    """Edges of 800 all over, shape (160, 160)."""
    pattern = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(160, 160)), 4.0)
    return np.where(pattern > 0, 800.0, 0.0).astype(np.float32)


def denoised_report(volume, **said):
    """Report of an array, of which all is said to the stack."""
    stack = SliceStack.of(volume, **said)
    return collect_report(stack, denoise(stack, **OPTIONS))


def leaning(anatomy, rows, columns):
    """Slices of upright anatomy; each begins so much further down and right than the one before. Noise of 40."""
    slices = [
        anatomy[start_row : start_row + SIZE, start_column : start_column + SIZE]
        for start_row, start_column in ((40 + index * rows, 40 + index * columns) for index in range(DEPTH))
    ]
    return np.stack(slices) + np.random.default_rng(2).normal(0, 40, (DEPTH, SIZE, SIZE)).astype(np.float32)


@pytest.fixture(scope="module")
def upright(anatomy):
    return denoised_report(leaning(anatomy, 0, 0))


@pytest.mark.parametrize("shear_px", [(2, 0), (-1, 2)])
def test_a_sheared_stack_has_the_noise_of_the_upright_one(anatomy, upright, shear_px):
    data = denoised_report(leaning(anatomy, *shear_px), shear_px=shear_px)

    np.testing.assert_allclose(by_slice(upright.noise_before), 40, rtol=0.07)
    for name in ("noise_before", "noise_after"):
        noise = getattr(data, name)
        assert noise.shape == (DEPTH, 6, 6)
        np.testing.assert_allclose(by_slice(noise), by_slice(getattr(upright, name)), rtol=0.08)
        assert noise.max() < 1.3 * 40
    np.testing.assert_allclose(data.spectrum.before.mean(), upright.spectrum.before.mean(), rtol=0.05)
    # The first slice of the pair begins where the second one does: only there they can be compared.
    assert data.compared_hw.sum() == (SIZE - abs(shear_px[0])) * (SIZE - abs(shear_px[1]))
    assert data.matched_hw[data.compared_hw].mean() == pytest.approx(upright.matched_hw.mean(), abs=0.02)
    assert not data.matched_hw[~data.compared_hw].any()


def test_parts_lean_each_its_own_way(anatomy, upright):
    volume = np.concatenate([leaning(anatomy, 2, 0)[:5], leaning(anatomy, 0, 0)[:1], leaning(anatomy, 0, -2)[:6]])
    shears_px = [(2.0, 0.0), (0.0, 0.0), (0.0, -2.0)]

    stack = SliceStack.of(volume, parts=(5, 1, 6), shear_px=shears_px)
    result = denoise(stack, **OPTIONS)
    noise = by_slice(collect_report(stack, result).noise_before)

    assert result.shears_px == ((2.0, 0.0), (0.0, 0.0), (0.0, -2.0))
    np.testing.assert_allclose(
        noise[[0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]], np.median(by_slice(upright.noise_before)), rtol=0.06
    )
    assert noise[5] == 0


@pytest.mark.parametrize("shear_px", [(0.0, 0.0), (1.0, 0.0), (-2.6, 1.4), (0.0, -3.0), (9.0, 0.0)])
def test_pixels_that_are_compared_lie_on_each_other(shear_px):
    """Each pixel holds its place on the canvas."""
    depth, height, width = 5, 8, 7
    row, column = np.indices((height, width))
    offsets = [(round(index * shear_px[0]), round(index * shear_px[1])) for index in range(depth)]
    places = np.stack([1000 * (row + down) + column + right for down, right in offsets])

    pairs = Neighbors(SliceStack(values=np.zeros((depth, height, width), np.float32)), [shear_px]).pairs

    assert [pair.first for pair in pairs] == list(range(depth - 1))
    for pair in pairs:
        first, second = pair.both(places)
        np.testing.assert_array_equal(first, second)
        shared = set(places[pair.first].ravel()) & set(places[pair.first + 1].ravel())
        assert first.size == len(shared)


@pytest.fixture
def padded():
    """Noise of 20 in the middle; around it another value in each slice, and a frame of NaN around a corner."""
    volume = np.random.default_rng(3).normal(100, 20, (7, 128, 160)).astype(np.float32)
    exclude = np.ones(volume.shape, bool)
    exclude[:, 32:112, 32:128] = False
    volume[exclude] = (np.arange(7)[:, None, None] % 3 * 900 * np.ones(volume.shape))[exclude]
    return volume, exclude


@pytest.mark.parametrize("as_nan", [False, True])
def test_what_holds_no_measurement_does_not_count(padded, as_nan):
    volume, exclude = padded
    if as_nan:
        volume[exclude] = np.nan
    data = denoised_report(volume, modality="MR", exclude=None if as_nan else exclude)

    expected = denoised_report(volume[:, 32:112, 32:128], modality="MR")
    for name in ("noise_before", "noise_after"):
        noise = getattr(data, name)
        np.testing.assert_allclose(noise[:, 2:7, 2:8], getattr(expected, name), rtol=0.15)
        np.testing.assert_allclose(by_slice(noise), 20, rtol=0.05)
        assert (noise == 0).sum() == 7 * (8 * 10 - 5 * 6)
    np.testing.assert_allclose(data.spectrum.before.mean(), 400, rtol=0.1)
    np.testing.assert_array_equal(data.compared_hw, ~exclude[3])
    assert data.window == pytest.approx(expected.window, abs=1)
    share = data.matched_hw[data.compared_hw].mean()
    assert share == pytest.approx(expected.matched_hw.mean(), abs=0.05)
    assert f"Same tissue in slices 4 and 5: {share:.0%}" in report_html(data, report_json(data))


def test_a_slice_without_measurement_is_compared_with_none(padded):
    volume, exclude = padded
    exclude[2] = True
    exclude[5, 32:48, 32:48] = True
    noise = denoised_report(volume, exclude=exclude).noise_before

    assert not noise[2].any()
    assert noise[5, 2, 2] == 0
    # The first two slices have each other, the fourth has the fifth; the seventh has no neighbor in that corner.
    np.testing.assert_allclose(by_slice(noise)[[0, 1, 3, 4, 5, 6]], 20, rtol=0.15)
    assert noise[6, 2, 2] == 0
    assert noise[4, 2, 2] > 0
