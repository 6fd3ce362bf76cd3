# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Sheared stacks: where slices lie on their canvas, and that they come back to their places better denoised."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from nsn2n import denoise
from nsn2n.stack.shear import Layout, layout_of


@given(
    depth=st.integers(1, 9),
    shear_px=st.tuples(st.floats(-4, 4), st.floats(-4, 4)),
    seed=st.integers(0, 2**32 - 1),
)
def test_what_is_spread_is_gathered_again(depth, shear_px, seed):
    volume_dhw = np.random.default_rng(seed).normal(size=(depth, 5, 7))
    layout = Layout(volume_dhw.shape, shear_px)
    canvas = layout.spread(volume_dhw, -1.0)
    assert canvas.shape == layout.shape_dhw
    np.testing.assert_array_equal(layout.gather(canvas), volume_dhw)
    assert np.count_nonzero(canvas != -1.0) == volume_dhw.size


@pytest.mark.parametrize("shear_px", [(1.7, 0.0), (-1.7, 0.0), (0.4, -2.2)])
def test_what_stands_upright_stands_upright_on_the_canvas(shear_px):
    """A line that stands upright in the patient: in slice z it lies z times the shear further back."""
    depth, rows, columns = 20, 90, 100
    upright = [(50 - shear_px[0] * (z - 10), 50 - shear_px[1] * (z - 10)) for z in range(depth)]
    volume_dhw = np.zeros((depth, rows, columns))
    for z, (row, column) in enumerate(upright):
        volume_dhw[z, round(row), round(column)] = 1
    canvas = Layout(volume_dhw.shape, shear_px).spread(volume_dhw, 0)
    found = np.argwhere(canvas)[:, 1:]
    assert np.ptp(found, axis=0).max() <= 2  # half a pixel of rounding here and there, twice


@pytest.mark.parametrize("shear_px", [(0.0, 0.0), (0.01, -0.02), (10.0, 0.0)])
def test_slices_are_left_where_they_are(shear_px):
    """Without shear, with less than a pixel over the whole stack, and with so much that the canvas would be huge."""
    assert layout_of((10, 40, 40), shear_px) is None


@pytest.fixture(scope="module")
def tilted():
    """Blobs that stand upright in the patient, in a stack that leans by 2 pixels per slice; truth and noisy."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(96, 64)), 2.0)
    pattern = 400 * smooth / smooth.std()
    truth = np.stack([np.roll(pattern, -2 * z, axis=0)[:64] for z in range(12)]).astype(np.float32)
    return truth, truth + np.random.default_rng(2).normal(0, 40, truth.shape).astype(np.float32)


@pytest.mark.slow
def test_a_leaning_stack_loses_more_noise_when_its_slices_are_moved(tilted):
    truth, noisy = tilted
    options = {"preset": "fast", "device": "cpu", "config": {"fit": {"steps": 40}}}
    errors, matched = {}, {}
    for name, shear_px in (("moved", (2.0, 0.0)), ("as it lies", None), ("the wrong way", (-2.0, 0.0))):
        result = denoise(noisy, shear_px=shear_px, **options)
        assert result.volume.shape == result.noise_sd.shape == noisy.shape
        errors[name] = float(np.sqrt(np.mean(np.square(result.volume - truth))))
        matched[name] = result.measured.matched_fraction
    assert matched["moved"] > 1.2 * matched["as it lies"]
    assert errors["moved"] < 0.85 * errors["as it lies"]
    assert errors["moved"] < 0.85 * errors["the wrong way"]


def test_parts_may_lean_each_its_own_way(tilted):
    _, noisy = tilted
    options = {"device": "cpu", "config": {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}}}
    joined = denoise(noisy, parts=(5, 7), shear_px=[(2.0, 0.0), (0.0, 0.0)], **options)
    np.testing.assert_array_equal(joined.volume[:5], denoise(noisy[:5], shear_px=(2.0, 0.0), **options).volume)
    np.testing.assert_array_equal(joined.volume[5:], denoise(noisy[5:], **options).volume)
