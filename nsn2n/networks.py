# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The networks that are fitted: a compact residual CNN, and MONAI's U-Net for the ``paper`` preset."""

from __future__ import annotations

import itertools

import torch
from monai.networks.layers import gaussian_1d, separable_filtering
from monai.networks.nets.basic_unet import BasicUNet
from torch import Tensor, nn

from nsn2n.settings import NetworkSettings

__all__ = ["ResidualCNN", "build_network"]


class ResidualCNN(nn.Module):
    """Slice plus what a plain stack of 3x3 convolutions says about its detail; the identity before the fit.

    The convolutions see the slice minus its local Gaussian mean. A slice in noise units spans hundreds (bone beside
    air), and bfloat16 holds 8 significant bits: without that subtraction the noise would be lost in rounding wherever
    the signal is far from 0. It also makes the network blind to a constant offset, as a denoiser should be.

    Parameters
    ----------
    channels, layers : int
        Feature channels, and number of convolutions.
    detail_px : float
        Standard deviation of the Gaussian mean, in pixels.
    """

    def __init__(self, channels: int, layers: int, detail_px: float) -> None:
        super().__init__()
        widths = [1, *[channels] * (layers - 1), 1]
        stack: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            stack += [nn.Conv2d(width_in, width_out, 3, padding=1), nn.ReLU(inplace=True)]
        last = stack[-2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.convolutions = nn.Sequential(*stack[:-1])
        self.register_buffer("kernel", gaussian_1d(torch.tensor(detail_px), truncated=3.0), persistent=False)
        self.kernel: Tensor

    def forward(self, slices: Tensor) -> Tensor:
        """Denoise slices, shape (B, 1, H, W), float32, in noise units."""
        with torch.autocast(slices.device.type, enabled=False):
            # Reflection needs more pixels than the kernel reaches; the smallest slices take the border's value instead.
            reach = self.kernel.numel() // 2
            mode = "reflect" if min(slices.shape[-2:]) > reach else "replicate"
            mean = separable_filtering(slices, [self.kernel, self.kernel], mode=mode)
            detail = (slices - mean).contiguous(memory_format=torch.channels_last)
        return slices + self.convolutions(detail).float()


def build_network(settings: NetworkSettings) -> nn.Module:
    """Return the network of the settings: (B, 1, H, W) in, the same out; weights from torch's current seed."""
    if settings.kind == "unet":
        width = settings.channels
        return BasicUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            features=(width, width, 2 * width, 4 * width, 8 * width, width),
        )
    return ResidualCNN(settings.channels, settings.layers, settings.detail_px)
