# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The networks before any fit: shapes, the identity, and what they are blind to."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nsn2n.settings import NetworkSettings
from nsn2n.training.networks import ResidualUNet, _Up, build_network

SMALL_UNET = NetworkSettings(kind="unet", channels=4)


def _slices(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _trained_looking(channels=6, levels=3, detail_px=3.0):
    """A residual U-Net whose last layer, too, has weights."""
    torch.manual_seed(1)
    network = ResidualUNet(channels, levels, detail_px)
    nn.init.normal_(network.tail.weight, std=0.2)
    nn.init.normal_(network.tail.bias, std=0.2)
    return network.eval()


def test_the_residual_unet_is_the_identity_before_the_fit():
    slices = 300 * _slices(3, 1, 40, 33)

    assert torch.equal(build_network(NetworkSettings())(slices), slices)


def test_the_first_step_can_move_it():
    network = build_network(NetworkSettings(channels=4, levels=2))

    network(_slices(1, 1, 16, 16)).sub(1).square().mean().backward()

    # Only the last layer is 0, so its gradient is not: a fit does not stay at the identity.
    assert network.tail.weight.grad.abs().max() > 0


@pytest.mark.parametrize("shape", [(2, 1, 64, 48), (1, 1, 33, 17), (1, 1, 5, 7), (3, 1, 1, 1), (1, 1, 9, 80)])
def test_the_residual_unet_takes_slices_of_any_size(shape):
    slices = _slices(*shape)

    denoised = _trained_looking()(slices)

    assert denoised.shape == shape
    assert denoised.dtype == torch.float32
    assert denoised.isfinite().all()
    assert not torch.equal(denoised, slices)


@pytest.mark.parametrize("shape", [(1, 1, 48, 40), (1, 1, 5, 7)])
def test_the_residual_unet_is_blind_to_a_constant_offset(shape):
    network, slices = _trained_looking(), _slices(*shape)

    with torch.no_grad():
        residual = network(slices) - slices
        with_offset = network(slices + 64) - (slices + 64)

    assert residual.std() > 0.01
    torch.testing.assert_close(with_offset, residual, atol=1e-3, rtol=0)


@pytest.mark.parametrize("shape", [(2, 12, 6, 5), (1, 12, 1, 1)])
def test_up_is_the_transposed_convolution(shape):
    up, features = _Up(12, 7), _slices(*shape).requires_grad_()
    plain = nn.ConvTranspose2d(12, 7, 2, stride=2)
    plain.load_state_dict(up.state_dict())

    results = []
    for layer in (up, plain):
        layer.zero_grad()
        features.grad = None
        doubled = layer(features)
        doubled.square().sum().backward()
        results.append((doubled.detach(), features.grad, layer.weight.grad, layer.bias.grad))

    assert results[0][0].shape == (shape[0], 7, 2 * shape[2], 2 * shape[3])
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def test_slices_of_a_batch_do_not_mix():
    network, slices = _trained_looking(), _slices(4, 1, 24, 24)

    with torch.no_grad():
        together = network(slices)
        alone = torch.cat([network(one) for one in slices.split(1)])

    torch.testing.assert_close(together, alone)


def test_levels_and_channels_are_those_of_the_settings():
    network = build_network(NetworkSettings(channels=5, levels=3))
    convolutions = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    widths = [(layer.in_channels, layer.out_channels) for layer in convolutions]

    down = [(5, 10), (10, 10), (10, 10), (10, 15), (15, 15), (15, 15), (15, 15)]
    assert widths == [(1, 5), *down, (5, 5), (10, 10), (5, 1)]
    assert isinstance(build_network(NetworkSettings(channels=1, levels=1)), ResidualUNet)


@pytest.mark.parametrize("levels", [1, 2, 3])
def test_no_pixel_sees_further_than_the_network_says(levels):
    network, slices = _trained_looking(levels=levels), _slices(1, 1, 160, 160)
    changed = slices.clone()
    changed[..., 80, 80] += 1000

    with torch.no_grad():
        differs = (network(changed) - network(slices)).abs()[0, 0] > 0

    rows, columns = torch.nonzero(differs, as_tuple=True)
    assert max((rows - 80).abs().max(), (columns - 80).abs().max()) <= network.reach_px
    assert network.reach_px % network.multiple_px == 0


def test_weights_come_from_the_seed():
    def weights(seed):
        torch.manual_seed(seed)
        return build_network(NetworkSettings(channels=4, levels=2)).head[0].weight

    assert torch.equal(weights(3), weights(3))
    assert not torch.equal(weights(3), weights(4))


# 17 x 33 and 45 x 70 are halved to odd sizes on the way down; below 32 the U-Net has a pixel or none at the bottom.
@pytest.mark.parametrize("size", [(64, 48), (45, 70), (17, 33), (16, 16), (12, 40), (5, 7), (1, 1)])
def test_the_unet_keeps_the_shape_and_can_be_fitted(size):
    network, slices = build_network(SMALL_UNET), _slices(2, 1, *size)

    denoised = network.train()(slices)
    denoised.square().mean().backward()

    assert denoised.shape == slices.shape
    assert denoised.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters() if parameter.grad is not None)


def test_padding_leaves_slices_that_are_large_enough_alone():
    network, slices = build_network(SMALL_UNET).eval(), _slices(1, 1, 32, 50)

    with torch.no_grad():
        assert torch.equal(network(slices), network.unet(slices))


def test_the_network_sees_noise_of_one_level_everywhere():
    network = _trained_looking()
    slices = torch.randn(2, 1, 24, 24)
    scale = torch.full((2, 1, 24, 24), 4.0)

    with torch.no_grad():
        plain, scaled = network(slices), network(4 * slices, scale)

    torch.testing.assert_close(scaled, 4 * plain, rtol=1e-5, atol=1e-5)
