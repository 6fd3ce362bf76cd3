# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The steps of a fit: gradients, clipping, AdamW, and the mean of the weights of all steps.

On a GPU each of the hundreds of operations of a step takes longer to launch than to compute. So a step is recorded as a
CUDA graph, and replayed: what changes from step to step is in the memory of the GPU, where the graph reads it.
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nsn2n.runtime.cpus import KeptThreads
from nsn2n.settings import FitSettings
from nsn2n.training.optimizer import BETAS, EPSILON, AdamW, Rates
from nsn2n.training.parts import Part, backward

__all__ = ["RecordedSteps", "Steps", "steps_of"]

logger = logging.getLogger(__name__)

_BEFORE_RECORDING = 3
"""Steps that are taken before one is recorded, so that libraries have chosen their algorithms and memory."""

_Weights = tuple[Tensor, ...] | list[Tensor]


def steps_of(network: nn.Module, settings: FitSettings, threads: KeptThreads | None = None) -> Steps | RecordedSteps:
    """Return the steps for a network, which are recorded if it is on a GPU."""
    if next(network.parameters()).device.type == "cuda":
        return RecordedSteps(network, settings)
    return Steps(network, settings, threads)


class Steps:
    """Takes steps one operation at a time.

    Parameters
    ----------
    network : Module
        Changed in place.
    settings : FitSettings
        Weight decay, clipping, and whether the mean of the weights is the result.
    threads : KeptThreads, optional
        They compute the parts of a loss.
    """

    def __init__(self, network: nn.Module, settings: FitSettings, threads: KeptThreads | None = None) -> None:
        self._network, self._threads = network, threads
        self._parameters = list(network.parameters())
        self._optimizer = AdamW(self._parameters, settings.weight_decay)
        self._gradient_norm = settings.gradient_norm
        averages = settings.schedule == "averaged"
        self._average = AveragedModel(network, multi_avg_fn=_running_mean) if averages else None

    @property
    def averaged(self) -> nn.Module | None:
        """The network with the mean of its weights; None if that is not wanted."""
        return None if self._average is None else self._average.module

    def take(self, parts: Sequence[Part], rates: Rates) -> Tensor:
        """Take a step down the gradients of a loss, and return the loss, shape (), detached."""
        loss = backward(self._parameters, parts, self._threads)
        if self._gradient_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._gradient_norm)
        self._optimizer.step(rates)
        if self._average is not None:
            self._average.update_parameters(self._network)
        return loss


class RecordedSteps:
    """Takes the same steps, which are recorded and replayed where the parts of the loss allow it.

    Where a list of parts is the same object as in the step before, so is their computation: it reads other values at
    the same places in memory. A GPU whose driver refuses to record takes each step as it comes.

    Parameters
    ----------
    network, settings
        As of :class:`Steps`.
    """

    def __init__(self, network: nn.Module, settings: FitSettings) -> None:
        self._parameters = list(network.parameters())
        self._device = self._parameters[0].device
        self._settings = settings
        self.averaged = copy.deepcopy(network) if settings.schedule == "averaged" else None
        self._weights: list[Tensor] = list(self._parameters)
        self._averages: list[Tensor] = [] if self.averaged is None else list(self.averaged.parameters())
        self._means, self._squares = ([torch.zeros_like(each) for each in self._parameters] for _ in range(2))
        self._numbers = torch.zeros(5, device=self._device)
        self._taken = 0
        self._parts: Sequence[Part] | None = None
        self._with_these_parts = 0
        self._records = self._device.type == "cuda"
        self._graph: torch.cuda.CUDAGraph | None = None
        self._loss: Tensor | None = None

    def take(self, parts: Sequence[Part], rates: Rates) -> Tensor:
        """Take a step down the gradients of a loss, and return the loss, shape (), detached."""
        # Not blocking: it would wait for the steps before.
        self._numbers.copy_(torch.tensor(self._numbers_of(rates)), non_blocking=True)
        self._taken += 1
        if parts is not self._parts:
            self._parts, self._with_these_parts, self._graph = parts, 0, None
        self._with_these_parts += 1
        if self._graph is None and self._records and self._with_these_parts > _BEFORE_RECORDING:
            self._record(parts)
        if self._graph is None:
            return self._step(parts)
        self._graph.replay()
        assert self._loss is not None  # recorded with the graph
        return self._loss.clone()

    def _record(self, parts: Sequence[Part]) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                self._loss = self._step(parts)
            self._graph = graph
        except RuntimeError as error:
            logger.debug("the steps of the fit are not recorded: %s", error)
            self._records = False

    def _numbers_of(self, rates: Rates) -> list[float]:
        """What AdamW and the running mean multiply by in this step."""
        steps, decay = self._taken + 1, rates.learning_rate * self._settings.weight_decay
        first = 1 - rates.momentum**steps
        second = math.sqrt(1 - BETAS[1] ** steps)
        return [1 - decay, rates.momentum, rates.learning_rate / first, second, 2 / (2 + self._taken)]

    def _step(self, parts: Sequence[Part]) -> Tensor:
        loss = backward(self._parameters, parts)
        if self._settings.gradient_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._settings.gradient_norm)
        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        with torch.no_grad():
            self._descend(gradients)
        return loss

    def _descend(self, gradients: list[Tensor]) -> None:
        """AdamW as :class:`nsn2n.training.optimizer.AdamW` has it, with numbers that are read from the GPU's memory."""
        decay, momentum, rate, root, share = self._numbers.unbind()
        torch._foreach_mul_(self._weights, decay)
        torch._foreach_mul_(self._means, momentum)
        torch._foreach_add_(self._means, torch._foreach_mul(gradients, 1 - momentum))
        torch._foreach_mul_(self._squares, BETAS[1])
        torch._foreach_addcmul_(self._squares, gradients, gradients, value=1 - BETAS[1])
        divisors = torch._foreach_sqrt(self._squares)
        torch._foreach_div_(divisors, root)
        torch._foreach_add_(divisors, EPSILON)
        changes = torch._foreach_div(self._means, divisors)
        torch._foreach_mul_(changes, rate)
        torch._foreach_sub_(self._weights, changes)
        if self._averages:
            changes = torch._foreach_sub(self._weights, self._averages)
            torch._foreach_mul_(changes, share)
            torch._foreach_add_(self._averages, changes)


def _running_mean(means: _Weights, new: _Weights, count: Tensor | int) -> None:
    """Update the means of the weights after each step so far, weighted in proportion to the step number.

    So the start is forgotten, and the longer the fit takes the steadier is the mean (polynomial-decay averaging with
    eta = 1; Shamir and Zhang, ICML 2013).
    """
    torch._foreach_lerp_(means, new, 2 / (2 + int(count)))  # As PyTorch's own averages do; a sixth of the time.
