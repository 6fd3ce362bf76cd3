# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import mmap

import numpy as np
import pytest
import torch

from nsn2n.arrays import either
from nsn2n.runtime import volumes


def random(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def test_each_kind_has_its_namespace(device):
    assert either.namespace(random(2)) is np
    assert either.namespace(torch.zeros(2, device=device)) is torch


def test_values_go_to_the_device_and_back(device):
    values = random(3, 4)
    there = either.on_device(values, device)
    assert there.device.type == device.type
    assert np.array_equal(either.on_host(there), values)
    assert either.on_host(values) is values
    assert either.on_device(there, device) is there


def test_an_array_goes_where_another_one_is(device):
    values, there = random(3), torch.zeros(2, device=device)
    assert either.in_memory_of(values, values) is values
    assert either.in_memory_of(values, there).device == there.device
    assert isinstance(either.in_memory_of(there, values), np.ndarray)


@pytest.mark.parametrize("name", ["copied", "contiguous", "float32", "double"])
def test_copies_have_the_same_values(name, device):
    values = random(4, 6)[:, ::2]
    function = getattr(either, name)
    there = either.on_device(values, device)
    assert np.array_equal(function(values), values)
    assert np.array_equal(either.on_host(function(there)), values)
    assert str(function(there).dtype).removeprefix("torch.") == str(function(values).dtype)


def test_a_copy_has_its_own_memory(device):
    for values in (random(3), torch.ones(3, device=device)):
        copy = either.copied(values)
        copy[:] = 7
        assert not (values == 7).any()


def test_a_new_array_has_shape_and_kind_of_another_one(device):
    for values in (random(3, 4)[::2], torch.ones(2, 4, device=device)):
        assert tuple(either.empty_like(values).shape) == (2, 4)
        assert either.empty_like(values).dtype == values.dtype
        xp = either.namespace(values)
        assert either.empty_like(values, xp.float16).dtype == xp.float16


def test_large_arrays_go_where_volumes_are_kept(monkeypatch):
    monkeypatch.setattr(volumes, "_LEAST_BYTES", 0)
    values = random(4, 6)
    with volumes.memory_limit(1 << 30):
        volumes.keep_in_files(volumes.current_room(), 1)
        made = [either.copied(values), either.empty_like(values), either.contiguous(values[:, ::2])]
        assert either.contiguous(values) is values
    assert all(isinstance(each.base, mmap.mmap) for each in made)
    assert np.array_equal(made[0], values)
    assert np.array_equal(made[2], values[:, ::2])


def test_stacked_values_are_an_array(device):
    values = [random(2, 3, seed=seed) for seed in range(3)]
    expected = np.stack(values)
    assert np.array_equal(either.stacked(values), expected)
    assert np.array_equal(either.stacked([either.on_device(each, device) for each in values]), expected)


def test_a_ratio_is_0_where_the_divisor_is_not_above_0(device):
    values, divisor = random(5), np.array([1, 0, 2, -1, 4], np.float32)
    expected = np.where(divisor > 0, values / np.where(divisor > 0, divisor, 1), 0)
    assert np.allclose(either.divided(values, divisor), expected)
    there = either.divided(either.on_device(values, device), either.on_device(divisor, device))
    assert np.allclose(either.on_host(there), expected)


def test_sums_and_deviations_are_those_of_numpy(device):
    values = 1000 + random(50, 70)
    there = either.on_device(values, device)
    assert either.total(there) == pytest.approx(either.total(values), rel=1e-9)
    assert either.total(values) == pytest.approx(values.sum(dtype=np.float64), rel=1e-12)
    assert either.deviation(there) == pytest.approx(float(values.std()), rel=1e-4)


def test_a_table_is_interpolated_as_numpy_does(device):
    places, table = np.array([0.0, 1.0, 3.0]), np.array([2.0, 5.0, 4.0])
    values = np.array([-1, 0, 0.25, 1, 2, 3, 9, np.inf], np.float32)
    expected = np.interp(values, places, table)
    assert np.array_equal(either.interpolated(values, places, table), expected)
    assert np.allclose(either.on_host(either.interpolated(either.on_device(values, device), places, table)), expected)
