# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Quiet voxels are those of air without noise, and there are none where noise is the same or nearly so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from nsn2n.noise.quiet import quiet_voxels

SHAPE = (5, 96, 112)


def _noise(scale=1.0, seed=0):
    noise = np.random.default_rng(seed).standard_normal(SHAPE, dtype=np.float32)
    return (ndimage.gaussian_filter(noise, (0, 0.7, 0.7)) * scale).astype(np.float32)


def _body():
    rows, columns = np.ogrid[-48:48, -56:56]
    return np.broadcast_to(np.hypot(rows, columns) < 36, SHAPE)


@pytest.mark.parametrize("in_air", [0.0, 0.05])
def test_air_with_little_noise_is_quiet_but_for_the_rim_of_the_body(in_air):
    body = _body()
    quiet = quiet_voxels(100 * body + _noise(np.where(body, 1.0, in_air)))

    rim = ndimage.binary_dilation(body, np.ones((1, 9, 9))) & ~ndimage.binary_erosion(body, np.ones((1, 3, 3)))
    assert (quiet == ~body)[~rim].all()


def test_a_body_that_is_a_small_part_of_the_slice_is_not_quiet():
    rows, columns = np.ogrid[-48:48, -56:56]
    small = np.broadcast_to(np.hypot(rows, columns) < 16, SHAPE)

    quiet = quiet_voxels(100 * small + _noise(np.where(small, 1.0, 0.01)))

    assert not quiet[ndimage.binary_erosion(small, np.ones((1, 3, 3)))].any()
    assert quiet.mean() > 0.8


@pytest.mark.parametrize("least", [1.0, 0.3], ids=["even", "three times as much in one half"])
def test_there_are_none_where_noise_varies_as_in_a_body(least):
    assert quiet_voxels(_noise(np.where(np.arange(SHAPE[2]) < 56, least, 1.0))) is None


def test_tissue_is_not_quiet_though_neighbors_differ_far_less_than_at_structures():
    z, rows, columns = np.indices(SHAPE)
    stripes = np.where(columns < 40, 100 * np.sin(columns + 2 * rows + 3 * z), 0)

    assert quiet_voxels((1000 + stripes + 1e-3 * _noise()).astype(np.float32)) is None


def test_there_are_none_without_any_noise():
    assert quiet_voxels(np.ones(SHAPE, np.float32)) is None


def test_excluded_voxels_do_not_decide_what_is_quiet():
    valid = np.ones(SHAPE, bool)
    valid[:, :, :32] = False
    volume = _noise()
    volume[~valid] *= 1e4

    assert quiet_voxels(volume, valid) is None


def test_slices_of_a_few_blocks_have_none():
    assert quiet_voxels((100 * _body() + _noise(_body()))[:, :, 4:34]) is None


def test_a_tensor_has_the_same():
    volume = np.float32(100) * _body() + _noise(np.where(_body(), 1.0, 0.01))

    found = quiet_voxels(torch.from_numpy(volume))

    assert isinstance(found, torch.Tensor)
    assert (found.numpy() == quiet_voxels(volume)).mean() > 0.999
