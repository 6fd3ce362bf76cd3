# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The networks that are fitted: a small residual U-Net, and MONAI's BasicUNet for the ``paper`` preset."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nsn2n.errors import NSN2NError, SettingsError
from nsn2n.runtime.cudart import preload_cudart
from nsn2n.settings import NetworkSettings

__all__ = ["ResidualUNet", "build_network", "gaussian_kernel", "gaussian_mean"]

_UNET_MIN_PX = 32
"""Instance normalization needs more than one pixel, also after four poolings by 2."""


class ResidualUNet(nn.Module):
    """Slice plus the output of a small convolutional U-Net for its detail; the identity before the fit.

    The convolutions see the slice minus its local Gaussian mean. A slice in noise units spans hundreds (bone beside
    air), and bfloat16 holds 8 significant bits: without that subtraction the noise would be lost in rounding wherever
    the signal is far from 0. It also makes the network blind to a constant offset, as a denoiser should be.

    Level k has k + 1 times the channels and k + 1 convolutions on the way down, at 1 / 2^k of the resolution, and one
    on the way up: most of the capacity and receptive field is at low resolution, where it costs little.

    Parameters
    ----------
    channels : int
        Feature channels at full resolution.
    levels : int
        Resolutions.
    detail_px : float
        Standard deviation of the Gaussian mean, in pixels.
    slices : int, odd
        Neighboring slices in the input's channels; the one in the middle is denoised.
    """

    def __init__(self, channels: int, levels: int, detail_px: float, slices: int = 1) -> None:
        super().__init__()
        self._middle = slice(slices // 2, slices // 2 + 1)
        widths = [channels * (level + 1) for level in range(levels)]
        self.head = _convolution(slices, channels)
        self.down = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(widths[level - 1], widths[level], 2, stride=2),
                nn.ReLU(inplace=True),
                *(_convolution(widths[level], widths[level]) for _ in range(level + 1)),
            )
            for level in range(1, levels)
        )
        self.up = nn.ModuleList(_Up(widths[level], widths[level - 1]) for level in range(1, levels))
        self.merge = nn.ModuleList(_convolution(width, width) for width in widths[:-1])
        self.tail = nn.Conv2d(channels, 1, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        assert self.tail.bias is not None
        nn.init.zeros_(self.tail.bias)
        self.register_buffer("kernel", gaussian_kernel(detail_px), persistent=False)
        self.kernel: Tensor
        self.multiple_px = 2 ** (levels - 1)
        """Pixels of the coarsest level: strips of a slice must start at a multiple of it to give the same result."""
        convolved = 2 + sum(2**level * (level + 1 if level else 0) for level in range(levels))
        merged = sum(2**level for level in range(levels - 1))
        reach = self.kernel.numel() // 2 + convolved + merged + self.multiple_px
        self.reach_px = -(-reach // self.multiple_px) * self.multiple_px
        """Radius of the receptive field; a multiple of ``multiple_px``."""

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
        height, width = detail.shape[-2:]
        missing = (0, -width % self.multiple_px, 0, -height % self.multiple_px)
        if any(missing):
            detail = F.pad(detail, missing, mode="replicate")
        residual = self._residual(detail).float()[..., :height, :width]
        return middle + (residual if scale is None else residual * scale)

    def _residual(self, detail: Tensor) -> Tensor:
        """Return what to add, shape (B, 1, H, W), for detail of shape (B, slices, H, W), of multiples of the stride."""
        features = self.head(detail)
        passed = []
        for down in self.down:
            passed.append(features)
            features = down(features)
        for up, merge, skipped in reversed(list(zip(self.up, self.merge, passed, strict=True))):
            features = merge(up(features) + skipped)
        residual: Tensor = self.tail(features)
        return residual


def _convolution(width_in: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(width_in, width_out, 3, padding=1), nn.ReLU(inplace=True))


class _Up(nn.ConvTranspose2d):
    """Transposed convolution of 2 x 2 in steps of 2, as a matrix product.

    No two output pixels share an input, so it is one linear map of each pixel; its gradient takes a third of the time
    that PyTorch's takes on a CPU.
    """

    def __init__(self, width_in: int, width_out: int) -> None:
        super().__init__(width_in, width_out, 2, stride=2)

    def forward(self, features: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Return twice the resolution: (B, width_in, H, W) in, (B, width_out, 2 H, 2 W) out."""
        batch, _, height, width = features.shape
        assert self.bias is not None
        weight = self.weight.permute(2, 3, 1, 0).reshape(4 * self.out_channels, self.in_channels)
        pixels = F.linear(features.permute(0, 2, 3, 1), weight, self.bias.repeat(4))
        rows = pixels.view(batch, height, width, 2, 2 * self.out_channels).transpose(2, 3)
        return rows.reshape(batch, 2 * height, 2 * width, self.out_channels).permute(0, 3, 1, 2)


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
        try:
            preload_cudart()
            from monai.networks.nets.basic_unet import BasicUNet
        except (ImportError, NSN2NError) as error:
            raise SettingsError(
                "network.kind unet, which the preset paper has, needs MONAI; it cannot be imported"
                f" ({type(error).__name__}). Run: pip install 'nsn2n[paper]', or use another preset."
            ) from error

        width = settings.channels
        unet: nn.Module = BasicUNet(
            spatial_dims=2,
            in_channels=1,
            out_channels=1,
            features=(width, width, 2 * width, 4 * width, 8 * width, width),
        )
        return _Padded(unet)
    return ResidualUNet(settings.channels, settings.levels, settings.detail_px)
