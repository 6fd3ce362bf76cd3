# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A network applied slice by slice: each slice once, each as if it were alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from nsn2n.runtime.compute import Compute
from nsn2n.training import inference
from nsn2n.training.inference import denoise_slices, denoise_strips, denoise_with_rotation, denoised_batches
from nsn2n.training.networks import ResidualUNet

FLOAT32 = Compute(torch.device("cpu"), False)
BFLOAT16 = Compute(torch.device("cpu"), True)


def _network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 1, 3, padding=1))


def _volume(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2)) * 30 + 100


def _removed(network, slices, compute=FLOAT32, offset=100.0, unit=30.0):
    batches = list(denoised_batches(network, slices, offset, unit, compute))
    return [part for part, _ in batches], np.concatenate([removed for _, removed in batches])


@pytest.mark.parametrize("compute", [FLOAT32, BFLOAT16], ids=str)
def test_the_result_is_float32_in_either_precision(compute):
    network, slices = _network(), _volume(2, 1, 16, 16)

    with torch.no_grad():
        denoised = denoise_slices(network, slices, compute)
        exact = network(slices)

    assert denoised.dtype == torch.float32
    # bfloat16 rounds to 8 significant bits.
    torch.testing.assert_close(denoised, exact, rtol=2**-6, atol=2**-6 * float(exact.abs().max()))


def test_batches_cover_each_slice_once_and_are_as_slices_one_by_one(monkeypatch):
    network, slices = _network(), _volume(7, 20, 24)
    monkeypatch.setattr(inference, "_PIXELS_PER_BATCH", 3 * 20 * 24)

    parts, removed = _removed(network, slices)

    assert [(part.start, part.stop) for part in parts] == [(0, 3), (3, 6), (6, 7)]
    with torch.no_grad():
        for index, slice_hw in enumerate(slices):
            noisy = ((slice_hw - 100) / 30)[None, None]
            np.testing.assert_allclose(removed[index], (noisy - network(noisy))[0, 0], atol=1e-5)


def test_a_slice_larger_than_a_batch_goes_alone(monkeypatch):
    monkeypatch.setattr(inference, "_PIXELS_PER_BATCH", 10)

    parts, _ = _removed(_network(), _volume(3, 20, 24))

    assert [(part.start, part.stop) for part in parts] == [(0, 1), (1, 2), (2, 3)]


def _denoised(apply, network, slices):
    with torch.no_grad():
        return apply(network, slices.unsqueeze(1), FLOAT32)


def test_turning_changes_nothing_for_a_network_without_a_direction():
    blur = nn.Conv2d(1, 1, 3, padding=1)
    nn.init.constant_(blur.weight, 1 / 9)
    nn.init.constant_(blur.bias, 0.1)
    slices = _volume(3, 20, 24)

    torch.testing.assert_close(_denoised(denoise_with_rotation, blur, slices), _denoised(denoise_slices, blur, slices))


def test_turned_is_the_mean_with_the_slices_turned():
    network, slices = _network(), _volume(3, 20, 24)

    turned = _denoised(denoise_slices, network, slices.flip(-2, -1)).flip(-2, -1)
    expected = (_denoised(denoise_slices, network, slices) + turned) / 2

    torch.testing.assert_close(_denoised(denoise_with_rotation, network, slices), expected)
    assert not torch.equal(turned, expected)


def test_offset_and_unit_are_taken_off_before_the_network():
    slices = _volume(2, 8, 8)

    _, removed = _removed(nn.ReLU(), slices, offset=50.0, unit=10.0)

    # Noisy minus its positive part is its negative part.
    np.testing.assert_allclose(removed, np.minimum((slices.numpy() - 50) / 10, 0), atol=1e-5)


def test_the_slices_stay_as_they_were():
    slices = _volume(3, 20, 24)
    before = slices.clone()

    _removed(_network(), slices)

    assert torch.equal(slices, before)


@pytest.mark.parametrize("slices", [1, 3])
def test_strips_give_what_the_whole_slice_gives(monkeypatch, slices):
    torch.manual_seed(1)
    network = ResidualUNet(channels=4, levels=3, detail_px=2.0, slices=slices)
    nn.init.normal_(network.tail.weight, std=1.0)
    stack = torch.randn(2, slices, 150, 25)
    monkeypatch.setattr(inference, "_FEWEST_ROWS", 7)

    with torch.no_grad():
        whole = denoise_slices(network, stack, FLOAT32)
        monkeypatch.setattr(inference, "_PIXELS_PER_BATCH", 2 * 25 * 7)
        strips = denoise_strips(network, stack, FLOAT32)

    assert float((whole - stack[:, slices // 2 : slices // 2 + 1]).abs().max()) > 1
    torch.testing.assert_close(strips, whole, rtol=1e-5, atol=1e-5)


def test_a_network_that_sees_the_whole_slice_gets_it_whole(monkeypatch):
    monkeypatch.setattr(inference, "_PIXELS_PER_BATCH", 1)
    shapes = []

    class Network(nn.Module):
        def forward(self, slices):
            shapes.append(tuple(slices.shape))
            return slices

    denoise_strips(Network(), torch.zeros(1, 1, 300, 8), FLOAT32)

    assert shapes == [(1, 1, 300, 8)]


def test_between_batches_the_caller_computes_gradients_as_ever():
    next(denoised_batches(_network(), _volume(2, 8, 8), 0.0, 1.0, FLOAT32))

    assert not torch.is_inference_mode_enabled()
