# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The networks that are fitted: a compact residual CNN, and MONAI's U-Net for the ``paper`` preset."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nsn2n._cudart import preload_cudart
from nsn2n.settings import NetworkSettings

__all__ = ["ResidualCNN", "build_network", "gaussian_kernel", "gaussian_mean"]

_UNET_MIN_PX = 32
"""Instance normalization needs more than one pixel, also after four poolings by 2."""


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
    slices : int, odd
        Neighboring slices in the input's channels; the one in the middle is denoised.
    """

    def __init__(self, channels: int, layers: int, detail_px: float, slices: int = 1) -> None:
        super().__init__()
        self._middle = slice(slices // 2, slices // 2 + 1)
        widths = [slices, *[channels] * (layers - 1), 1]
        stack: list[nn.Module] = []
        for width_in, width_out in itertools.pairwise(widths):
            stack += [nn.Conv2d(width_in, width_out, 3, padding=1), nn.ReLU(inplace=True)]
        last = stack[-2]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.convolutions = nn.Sequential(*stack[:-1])
        self.register_buffer("kernel", gaussian_kernel(detail_px), persistent=False)
        self.kernel: Tensor
        self.reach_px = self.kernel.numel() // 2 + layers
        """How far from a pixel the network sees, at most."""

    def forward(self, slices: Tensor, scale: Tensor | None = None) -> Tensor:
        """Denoise slices.

        Parameters
        ----------
        slices : Tensor, shape (B, slices, H, W), float32
        scale : Tensor, shape (B, 1, H, W), float32, > 0, optional
            Local noise sd of the slice in the middle, so that the convolutions see noise of the same level everywhere;
            by default 1.

        Returns
        -------
        Tensor, shape (B, 1, H, W), float32
        """
        middle = slices[:, self._middle]
        with torch.autocast(slices.device.type, enabled=False):
            detail = slices - gaussian_mean(middle, self.kernel)
            if scale is not None:
                detail = detail / scale
            detail = detail.contiguous(memory_format=torch.channels_last)
        residual: Tensor = self.convolutions(detail).float()
        return middle + (residual if scale is None else residual * scale)


class _Padded(nn.Module):
    """A U-Net for slices of any size: what four poolings would shrink to a single pixel is padded with its border."""

    def __init__(self, unet: nn.Module) -> None:
        super().__init__()
        self.unet = unet

    def forward(self, slices: Tensor, scale: Tensor | None = None) -> Tensor:
        """Denoise slices, shape (B, 1, H, W); the scale is not used."""
        height, width = slices.shape[-2:]
        missing = (0, max(0, _UNET_MIN_PX - width), 0, max(0, _UNET_MIN_PX - height))
        padded = F.pad(slices, missing, mode="replicate") if any(missing) else slices
        denoised: Tensor = self.unet(padded)
        return denoised[..., :height, :width]


def gaussian_kernel(sigma_px: float) -> Tensor:
    """Sampled Gaussian, cut at 3 sd, of sum 1; shape (2 * reach + 1,)."""
    reach = max(1, round(3 * sigma_px))
    samples = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / sigma_px) ** 2)
    return samples / samples.sum()


def gaussian_mean(slices: Tensor, kernel: Tensor) -> Tensor:
    """Mean of slices, shape (B, 1, H, W), along rows and columns with the weights of a kernel; the border reflected."""
    reach = kernel.numel() // 2
    # Reflection needs more pixels than the kernel reaches; the smallest slices take the border's value instead.
    mode = "reflect" if min(slices.shape[-2:]) > reach else "replicate"
    padded = F.pad(slices, (reach, reach, reach, reach), mode=mode)
    along_rows = F.conv2d(padded, kernel.view(1, 1, -1, 1))
    return F.conv2d(along_rows, kernel.view(1, 1, 1, -1))


def build_network(settings: NetworkSettings) -> nn.Module:
    """Return the network of the settings: (B, 1, H, W) in, the same out; weights from torch's current seed."""
    if settings.kind == "unet":
        # `import monai` loads every package below it, the SDK and Holoscan with it: seconds, and libcudart. Only here.
        preload_cudart()
        from monai.networks.nets.basic_unet import BasicUNet

        width = settings.channels
        unet: nn.Module = BasicUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            features=(width, width, 2 * width, 4 * width, 8 * width, width),
        )
        return _Padded(unet)
    return ResidualCNN(settings.channels, settings.layers, settings.detail_px)
