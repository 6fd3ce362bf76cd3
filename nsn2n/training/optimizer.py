# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer of the fits and its one-cycle schedule: PyTorch's, without the imports of their classes.

The first object of ``torch.optim`` loads PyTorch's compiler, some 800 modules, though nothing here is compiled: three
quarters of a second, where a whole fit may take five. The functional form behind it loads nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.adamw import adamw

__all__ = ["BETAS", "EPSILON", "AdamW", "Rates", "one_cycle"]

BETAS = (0.9, 0.999)
"""Of the running means of the gradient and of its square."""
EPSILON = 1e-8

_RISE = 0.1
"""Part of a cycle in which the learning rate rises."""
_FIRST_RATE = 1 / 25
"""Fraction of the highest learning rate."""
_LAST_RATE = _FIRST_RATE / 1e4
_MOMENTUM = (0.85, 0.95)
"""At the highest learning rate, and at both ends."""


class Rates(NamedTuple):
    """The parameters of a step."""

    learning_rate: float
    momentum: float = BETAS[0]
    """Decay of the running mean of the gradient."""


class AdamW:
    """Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019): bit for bit `torch.optim.AdamW`, fused.

    Parameters
    ----------
    parameters : iterable of Parameter
        Each must have a gradient at each step.
    weight_decay : float
    """

    def __init__(self, parameters: Iterable[nn.Parameter], weight_decay: float) -> None:
        self._parameters: list[Tensor] = list(parameters)
        self._weight_decay = weight_decay
        self._means = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = [torch.zeros((), dtype=torch.float32, device=each.device) for each in self._parameters]

    @torch.no_grad()
    def step(self, rates: Rates) -> None:
        """Take a step down the gradients."""
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        adamw(
            self._parameters,
            gradients,
            self._means,
            self._squares,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            maximize=False,
            beta1=rates.momentum,
            beta2=BETAS[1],
            lr=rates.learning_rate,
            weight_decay=self._weight_decay,
            eps=EPSILON,
        )


def one_cycle(position: float, steps: int, highest: float) -> Rates:
    """Return the rates of a step: the learning rate rises over a tenth of the steps and falls over the rest.

    As `torch.optim.lr_scheduler.OneCycleLR` has it (Smith and Topin, arXiv 1708.07120), momentum inversely.

    Parameters
    ----------
    position : float
        0 at the first step, ``steps - 1`` at the last.
    steps : int
    highest : float
        Learning rate at the end of the rise.
    """
    # Neither part may be a single step, which has no length.
    steps = max(steps, 3)
    end, last = max(_RISE * steps, 2) - 1, steps - 1
    if position <= end:
        part, lowest = position / end, _FIRST_RATE
    else:
        part, lowest = 1 - (position - end) / (last - end), _LAST_RATE
    height = (1 - math.cos(math.pi * part)) / 2
    low, high = _MOMENTUM
    return Rates(highest * (lowest + (1 - lowest) * height), high + (low - high) * height)
