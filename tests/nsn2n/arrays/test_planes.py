# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch

from nsn2n.arrays import planes
from nsn2n.arrays.either import on_device, on_host


@pytest.fixture(params=[(40, 33), (3, 40, 33), (5, 7), (1, 1)], ids=str)
def values(request):
    return (100 + np.random.default_rng(0).standard_normal(request.param)).astype(np.float32)


FILTERS = {
    "gaussian": lambda values: planes.gaussian(values, 1.5),
    "wide gaussian": lambda values: planes.gaussian(values, 12.0, truncate=2.5),
    "convolved": lambda values: planes.convolved(values, (0.25, 0.5, 0.25)),
    "second difference": lambda values: planes.convolved(values, (1.0, 0.0, -2.0, 0.0, 1.0)),
    "maximum": lambda values: planes.maximum(values, 5),
    "minimum": lambda values: planes.minimum(values, 5),
}


@pytest.mark.parametrize("of", FILTERS.values(), ids=FILTERS)
def test_tensors_are_filtered_as_arrays_are(of, values, device):
    with torch.no_grad():
        there = of(on_device(values, device))
    assert there.dtype == torch.float32
    assert there.device.type == device.type
    np.testing.assert_allclose(on_host(there), of(values), rtol=0, atol=2e-4)


def test_planes_of_a_volume_are_filtered_one_by_one(values):
    if values.ndim == 3:
        for of in FILTERS.values():
            assert np.array_equal(of(values), np.stack([of(plane) for plane in values]))


def test_a_mask_is_dilated(device):
    mask = np.zeros((9, 9), bool)
    mask[4, 2] = True
    expected = np.zeros((9, 9), bool)
    expected[3:6, 1:4] = True
    assert np.array_equal(planes.maximum(mask, 3), expected)
    assert np.array_equal(on_host(planes.maximum(on_device(mask, device), 3)), expected)


@pytest.mark.parametrize("shape", [(32, 16), (33, 20), (5, 40)], ids=str)
def test_blocks_are_continued_by_the_mirror_image(shape, device):
    values = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    blocks = planes.blocks(values, 16)
    assert blocks.shape == (-(-shape[0] // 16), -(-shape[1] // 16), 256)
    height, width = min(shape[0], 16), min(shape[1], 16)
    first = blocks[0, 0].reshape(16, 16)
    assert np.array_equal(first[:height, :width], values[:16, :16])
    assert shape[0] >= 16 or np.array_equal(first[height : 2 * height], first[:height][::-1])
    assert np.array_equal(on_host(planes.blocks(on_device(values, device), 16)), blocks)
