# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Square blocks as the filters of groups see them: transform, features, window, and where reference blocks are."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import fft
from torch import Tensor

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import on_device

__all__ = [
    "BLOCK_PX",
    "LEAST_POWER",
    "BlockTransform",
    "cosines",
    "grid",
    "groups_at_once",
    "places_with",
    "tensor",
    "without_tf32",
]

BLOCK_PX = 8
"""Edge of the square blocks."""
LEAST_POWER = 1e-3
"""Lower bound of the residual noise of a group where it is a divisor."""

_FREQUENCIES = 3
"""Blocks are compared by so many of their lowest frequencies along each axis."""
_WINDOW_BETA = 2.0
"""Shape parameter of the Kaiser window: the middle of a block has more weight than its rim."""
_GROUPS_AT_ONCE, _GROUPS_AT_ONCE_CUDA = 512, 2**13
"""Groups at a time: on a CPU limited by its caches."""


class BlockTransform:
    """Cosine transform of blocks, what they are compared by, and the window in which they are put back.

    Parameters
    ----------
    noise_power : ndarray, shape (8, 8), float32, > 0
        Power of the noise at each frequency of a block (:func:`nsn2n.noise.spectrum.noise_spectrum`).
    width : int
        Columns of a slice.
    device : torch.device, optional
        Where to compute; the CPU by default.
    """

    def __init__(self, noise_power: Float32Array, width: int, device: torch.device | None) -> None:
        self.noise_power = tensor(noise_power.ravel(), device)
        """Shape (64,)."""
        self.in_block = tensor(np.kron(cosines(BLOCK_PX), cosines(BLOCK_PX)), device)
        """Matrix from pixels to coefficients, shape (64, 64)."""
        self.window = tensor(np.outer(*[np.kaiser(BLOCK_PX, _WINDOW_BETA)] * 2).ravel(), device)
        """Shape (64,)."""
        in_block = torch.arange(BLOCK_PX, device=device)
        self.pixels = (in_block[:, None] * width + in_block).ravel()
        """Numbers of the pixels of a block, from its first one, shape (64,)."""
        self.compared = _FREQUENCIES**2
        """Features of a block."""
        lowest = self.in_block.reshape(BLOCK_PX, BLOCK_PX, 1, BLOCK_PX, BLOCK_PX)[:_FREQUENCIES, :_FREQUENCIES]
        sd = self.noise_power.reshape(BLOCK_PX, BLOCK_PX)[:_FREQUENCIES, :_FREQUENCIES].sqrt()
        self._kernels = (lowest / sd[..., None, None, None]).flatten(0, 1)

    def features(self, image_hw: Tensor) -> Tensor:
        """Return the lowest coefficients of the block at each place, in noise sd, shape (places, compared)."""
        with without_tf32(image_hw):
            return F.conv2d(image_hw[None, None], self._kernels)[0].flatten(1).T.contiguous()


def cosines(size: int) -> NDArray[np.floating[Any]]:
    """Return the matrix of the orthonormal cosine transform, shape (size, size)."""
    return np.asarray(fft.dct(np.eye(size), axis=0, norm="ortho"))


def tensor(values: NDArray[np.floating[Any]], device: torch.device | None) -> Tensor:
    """Return a tensor of single precision."""
    return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(device)


def without_tf32(values: Tensor) -> AbstractContextManager[None]:
    """Return a context in which a GPU convolves values exactly.

    TensorFloat-32 would blur the small differences of large values, by which similar blocks are found. On a CPU several
    threads come here, whose flags these are not alone.
    """
    if not values.is_cuda:
        return nullcontext()
    exact: AbstractContextManager[None] = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    return exact


def groups_at_once(device: torch.device) -> int:
    """Return how many groups of blocks are filtered together."""
    return _GROUPS_AT_ONCE if device.type == "cpu" else _GROUPS_AT_ONCE_CUDA


def grid(positions: int, step: int, device: torch.device | None) -> Tensor:
    """Return positions a step apart, and the last."""
    return torch.arange(0, positions + step - 1, step, device=device).clamp_(max=positions - 1)


def places_with(wanted_hw: Array | None, rows: Tensor, columns: Tensor, edge_px: int) -> tuple[Tensor, Tensor]:
    """Return the rows and columns of the places whose square contains a wanted pixel; None: all."""
    if wanted_hw is None:
        return rows.repeat_interleave(len(columns)), columns.repeat(len(rows))
    in_rows = on_device(wanted_hw, rows.device).unfold(0, edge_px, 1)[rows].any(-1)
    at_row, at_column = in_rows.unfold(1, edge_px, 1)[:, columns].any(-1).nonzero(as_tuple=True)
    return rows[at_row], columns[at_column]
