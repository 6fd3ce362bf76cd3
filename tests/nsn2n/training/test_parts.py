# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A loss in parts: the same gradients as of the whole, and the same bytes with any number of threads."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import nn

from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads, with_threads
from nsn2n.training.parts import backward, crop_shares, is_split, split


def _network():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 5, 3), nn.ReLU(), nn.Conv2d(5, 1, 3))
    return network.to(memory_format=torch.channels_last)


def _crops(count):
    return torch.randn(count, 2, 12, 12, generator=torch.Generator().manual_seed(1))


def _loss(network, crops):
    return network(crops).square().sum()


def _gradients(network):
    return [parameter.grad for parameter in network.parameters()]


def test_a_batch_is_split_on_a_cpu_only():
    assert is_split(Compute(torch.device("cpu"), True))
    assert not is_split(Compute(torch.device("cuda"), True))


def test_crops_are_those_of_the_batch():
    first, second = torch.randn(3, 1, 4, 4), torch.randn(3, 5, 4, 4)

    crops = split(first, None, second)

    assert len(crops) == 3
    for index, (of_first, none, of_second) in enumerate(crops):
        assert torch.equal(of_first, first[index : index + 1])
        assert none is None
        assert torch.equal(of_second, second[index : index + 1])


@pytest.mark.parametrize(
    ("matched", "expected"), [([4, 12, 0], [0.25, 0.75, 0]), ([16, 16], [0.5, 0.5]), ([0, 0], [0, 0]), ([1], [1])]
)
def test_the_share_of_a_crop_is_that_of_the_matched_voxels(matched, expected):
    weights = torch.zeros(len(matched), 1, 4, 4)
    for crop, count in zip(weights, matched, strict=True):
        crop.flatten()[:count] = 1

    assert crop_shares(weights).tolist() == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_gradients_and_loss_are_the_sum_over_the_parts(threads):
    whole, parted, crops = _network(), _network(), _crops(3)
    loss = _loss(whole, crops)
    loss.backward()

    # What was there before is forgotten.
    backward(list(parted.parameters()), [partial(_loss, parted, 2 * crops)])
    with with_threads(threads), KeptThreads() as kept:
        parts = [partial(_loss, parted, *crop) for crop in split(crops)]
        total = backward(list(parted.parameters()), parts, kept)

    assert not total.requires_grad
    torch.testing.assert_close(total, loss.detach(), rtol=1e-6, atol=0)
    for mine, expected in zip(_gradients(parted), _gradients(whole), strict=True):
        torch.testing.assert_close(mine, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_the_number_of_threads_changes_no_bit():
    found = []
    for threads in (None, 1, 2, 4):
        network = _network()
        with with_threads(threads or 1), KeptThreads() as kept:
            parts = [partial(_loss, network, *crop) for crop in split(_crops(5))]
            loss = backward(list(network.parameters()), parts, kept if threads else None)
        found.append([loss, *_gradients(network)])

    for other in found[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(other, found[0], strict=True))


def test_gradients_lie_in_memory_as_the_weights_do():
    # Also those of a transposed view, as of a weight that is used in a matrix product. The optimizer relies on it.
    weight = nn.Parameter(torch.randn(3, 4))

    backward([weight], [lambda: (torch.ones(3, 2).mT @ weight).sum(), lambda: (weight.mT @ torch.ones(3, 1)).sum()])

    assert weight.grad.stride() == weight.stride()
    assert torch.equal(weight.grad, torch.full((3, 4), 3.0))


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_an_error_in_a_part_is_raised(wrong):
    network = _network()

    def part(index):
        if index == wrong:
            raise RuntimeError("out of memory")
        return _loss(network, _crops(1))

    with with_threads(2), KeptThreads() as kept, pytest.raises(RuntimeError, match="out of memory"):
        backward(list(network.parameters()), [partial(part, index) for index in range(3)], kept)
