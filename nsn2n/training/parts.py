# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A loss as the sum of its parts, one for each crop of a batch, so that threads can share a step of a fit.

On a CPU the batch is always split, whatever the number of threads, and the parts are added in their order: so the
result is the same with any number. A GPU computes the batch as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads

__all__ = ["Part", "backward", "crop_shares", "is_split", "split"]

Part = Callable[[], Tensor]
"""Computes a part of a loss, shape (); the loss is the sum of its parts."""


def is_split(compute: Compute) -> bool:
    """Whether the crops of a batch are computed separately on this device."""
    return compute.device.type == "cpu"


def split(*tensors: Tensor | None) -> list[tuple[Any, ...]]:
    """Return for each crop its part, shape (1, ...), of each tensor of a batch, shape (B, ...); None stays None.

    The first tensor is not None.
    """
    first = tensors[0]
    assert first is not None
    each = ([None] * len(first) if tensor is None else torch.split(tensor, 1) for tensor in tensors)
    return list(zip(*each, strict=True))


def crop_shares(weights: Tensor) -> Tensor:
    """Return the fraction of the weight of a batch, shape (B, 1, h, w), that each crop has, shape (B,); 0 if none has.

    A mean over the matched voxels of a batch is the sum of the means of its crops, multiplied by these.
    """
    of_crops = weights.flatten(1).sum(1)
    return of_crops / of_crops.sum().clamp_min(1.0)


def backward(parameters: Sequence[nn.Parameter], parts: Sequence[Part], threads: KeptThreads | None = None) -> Tensor:
    """Set the gradients of parameters to those of a loss, and return the loss, shape (), detached.

    Parameters
    ----------
    parameters : sequence of Parameter
        Each must take part in each part of the loss.
    parts : sequence of callables, at least one
        They may share nothing that they change: threads call them at the same time.
    threads : KeptThreads, optional
        By default the parts are computed one after the other.
    """

    def of_part(part: Part) -> tuple[Tensor, tuple[Tensor, ...]]:
        loss = part()
        # Not loss.backward(), which would add to the same gradients in several threads, in any order.
        return loss.detach(), torch.autograd.grad(loss, parameters)

    results = [of_part(part) for part in parts] if threads is None else threads.results(of_part, parts)
    losses, gradients = zip(*results, strict=True)
    # The optimizer needs gradients that lie in memory as the weights do, which those of a part need not.
    totals = [torch.zeros_like(parameter) for parameter in parameters]
    for of_one in gradients:
        torch._foreach_add_(totals, of_one)
    for parameter, total in zip(parameters, totals, strict=True):
        parameter.grad = total
    total_loss: Tensor = reduce(torch.add, losses)
    return total_loss
