# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Crops of a volume at places that are themselves in the memory of its device.

A recorded step of a fit (:mod:`nsn2n.training.steps`) reads the places anew each time that it is replayed.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["gathered"]


def gathered(volume: Tensor, slices: Tensor, corners: Tensor, size: tuple[int, int], flipped: Tensor) -> Tensor:
    """Return crops of a volume, shape (B, S, h, w).

    Parameters
    ----------
    volume : Tensor, shape (D, H, W)
    slices : Tensor, shape (B, S), int64
        The slices of each crop.
    corners : Tensor, shape (B, 2), int64
        Its first row and column.
    size : tuple of 2 ints
        (h, w).
    flipped : Tensor, shape (2,), bool
        Whether all crops are flipped along rows and along columns.
    """
    _, height, width = volume.shape
    rows, columns = (
        _in_order_or_reversed(count, flip) + corner[:, None]
        for count, flip, corner in zip(size, flipped, corners.unbind(1), strict=True)
    )
    lines = slices[:, :, None] * height + rows[:, None]
    return volume.reshape(-1)[lines[..., None] * width + columns[:, None, None]]


def _in_order_or_reversed(count: int, reverse: Tensor) -> Tensor:
    forward = torch.arange(count, device=reverse.device)
    return torch.where(reverse, count - 1 - forward, forward)
