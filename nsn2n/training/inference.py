# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Applies a network to a volume, slice by slice."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from nsn2n._aliases import Array
from nsn2n.arrays.either import in_memory_of, namespace, on_device
from nsn2n.noise.level import NoiseMap
from nsn2n.runtime.compute import Compute, at_once
from nsn2n.runtime.cpus import in_order

__all__ = [
    "denoise_slices",
    "denoise_strips",
    "denoise_with_rotation",
    "denoised_batches",
    "denoised_windows",
    "window_of",
]

_PIXELS_PER_BATCH = 2**17
"""Pixels denoised at a time on a CPU. The activations of so few stay in its caches, and the C library keeps their
memory for the next batch, whereas it would return larger blocks to the system and clear them again: 3 times as fast as
2**19."""

_PIXELS_PER_BATCH_CUDA = 2**24

_PIXELS_OF_WINDOWS_CUDA = 2**22
"""Pixels denoised at a time by a network with several input slices."""

_FEWEST_ROWS = 64
"""Of a strip: with fewer, most of what is computed would be the rows around it."""


def denoise_slices(network: nn.Module, slices: Tensor, compute: Compute, scale: Tensor | None = None) -> Tensor:
    """Apply a network to slices, shape (B, slices, H, W), float32, in network units; the result is float32 too.

    ``scale``, shape (B, 1, H, W), is the local noise sd in those units, for networks that use it.
    """
    arguments = (slices,) if scale is None else (slices, scale)
    # The cache of weights in bfloat16 is one for all threads: the graphs of two would share nodes.
    with torch.autocast(compute.device.type, dtype=torch.bfloat16, enabled=compute.bfloat16, cache_enabled=False):
        return network(*arguments).float()  # type: ignore[no-any-return]


def denoise_with_rotation(network: nn.Module, slices: Tensor, compute: Compute, scale: Tensor | None = None) -> Tensor:
    """As :func:`denoise_strips`, averaged with the result for slices rotated by 180 degrees.

    What depends on the direction cancels.
    """
    denoised = denoise_strips(network, slices, compute, scale)
    turned = None if scale is None else scale.flip(-2, -1)
    denoised += denoise_strips(network, slices.flip(-2, -1), compute, turned).flip(-2, -1)
    denoised /= 2
    return denoised


def denoise_strips(network: nn.Module, slices: Tensor, compute: Compute, scale: Tensor | None = None) -> Tensor:
    """As :func:`denoise_slices`, some rows at a time, with as many around them as the receptive field: the same result.

    A network that sees the whole slice, as the U-Net does, gets it whole.
    """
    batch, _, height, width = slices.shape
    rows = max(_FEWEST_ROWS, _pixels_per_batch(compute) // (batch * width))
    reach = getattr(network, "reach_px", None)
    if reach is None or rows >= height:
        return denoise_slices(network, slices, compute, scale)
    rows -= rows % int(getattr(network, "multiple_px", 1))
    strips = []
    for start in range(0, height, rows):
        end = min(start + rows, height)
        above, below = max(0, start - reach), min(height, end + reach)
        strip_scale = None if scale is None else scale[..., above:below, :]
        denoised = denoise_slices(network, slices[..., above:below, :], compute, strip_scale)
        strips.append(denoised[..., start - above : end - above, :])
    return torch.cat(strips, dim=-2)


def denoised_windows(
    network: nn.Module,
    noisy_dhw: Array,
    noise: NoiseMap,
    unit: float,
    compute: Compute,
    *,
    slices: int,
    with_rotation: bool = False,
) -> Iterator[tuple[int, Array]]:
    """Yield the index of each slice and the output of a network with several input slices, shape (H, W), float32.

    Parameters
    ----------
    network : Module
    noisy_dhw : array, shape (D, H, W), float32, finite
    noise : NoiseMap
        Of that volume.
    unit : float
        Values are divided by it for the network.
    compute : Compute
    slices : int
        Slices in the input of the network, an odd number.
    with_rotation : bool
        Average with the result for the volume rotated by 180 degrees, in twice the time.
    """
    apply = denoise_with_rotation if with_rotation else denoise_strips
    network.eval()

    depth, height, width = noisy_dhw.shape
    at_a_time = max(1, _PIXELS_OF_WINDOWS_CUDA // (height * width)) if compute.device.type == "cuda" else 1

    def denoised(first: int) -> list[tuple[int, Array]]:
        indices = range(first, min(first + at_a_time, depth))
        windows = in_memory_of(np.array([window_of(index, slices // 2, depth) for index in indices]), noisy_dhw)
        sds = namespace(noisy_dhw).stack([noise.floored(index) for index in indices])
        with torch.no_grad():
            noisy, scale = (on_device(values, compute.device) / unit for values in (noisy_dhw[windows], sds))
            predicted = apply(network, noisy, compute, scale[:, None])[:, 0]
            return list(zip(indices, in_memory_of(predicted, noisy_dhw) * unit, strict=True))

    for found in in_order(denoised, range(0, depth, at_a_time), most=at_once(compute.device)):
        yield from found


def window_of(middle: int, reach: int, depth: int) -> list[int]:
    """Indices of the slices around one; beyond the ends the last one again."""
    return [min(max(index, 0), depth - 1) for index in range(middle - reach, middle + reach + 1)]


def _pixels_per_batch(compute: Compute) -> int:
    return _PIXELS_PER_BATCH_CUDA if compute.device.type == "cuda" else _PIXELS_PER_BATCH


def denoised_batches(
    network: nn.Module,
    slices: Tensor,
    offset: float,
    unit: float,
    compute: Compute,
    scale: Tensor | None = None,
) -> Iterator[tuple[slice, Tensor]]:
    """Denoise a volume, a few slices at a time.

    Parameters
    ----------
    network : Module
    slices : Tensor, shape (D, H, W), float32
        In the unit of the volume.
    offset, unit : float
        The network sees ``(slices - offset) / unit``.
    compute : Compute
    scale : Tensor, shape (D, H, W), float32, > 0, optional
        Local noise sd, in multiples of ``unit``.

    Yields
    ------
    range : slice
        The slices of the batch.
    removed : Tensor, shape (batch, H, W), float32
        What the network removes, noisy minus denoised, in network units.
    """
    depth, height, width = slices.shape
    batch = max(1, _pixels_per_batch(compute) // (height * width))
    network.eval()

    def removed(start: int) -> tuple[slice, Tensor]:
        part = slice(start, min(start + batch, depth))
        with torch.no_grad():
            noisy = ((slices[part] - offset) / unit).unsqueeze(1)
            local = None if scale is None else scale[part].unsqueeze(1)
            return part, (noisy - denoise_strips(network, noisy, compute, local)).squeeze(1)

    yield from in_order(removed, range(0, depth, batch), most=at_once(compute.device))
