# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The optimizer and its cycle: those of PyTorch to the bit, without its compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from nsn2n.training.optimizer import AdamW, Rates, one_cycle


def _network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.PReLU(), nn.Conv2d(3, 1, 3))


def _teach(network, step):
    values = torch.randn(2, 1, 9, 9, generator=torch.Generator().manual_seed(step))
    network(values).square().mean().backward()


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 20, 250])
def test_a_cycle_of_steps_is_that_of_pytorch_to_the_bit(steps):
    ours, theirs = _network(), _network()
    optimizer = AdamW(ours.parameters(), 0.01)
    reference = torch.optim.AdamW(theirs.parameters(), lr=4e-3, weight_decay=0.01, fused=True)
    total = max(steps, 3)
    cycle = torch.optim.lr_scheduler.OneCycleLR(reference, 4e-3, total_steps=total, pct_start=max(0.1, 2 / total))

    for step in range(steps):
        rates = one_cycle(step, steps, 4e-3)
        group = reference.param_groups[0]
        assert rates == pytest.approx((group["lr"], group["betas"][0]), rel=1e-12)
        _teach(ours, step)
        _teach(theirs, step)
        optimizer.step(Rates(group["lr"], group["betas"][0]))
        reference.step()
        cycle.step()
        ours.zero_grad()
        theirs.zero_grad()

    for mine, yours in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(mine, yours)
    assert not torch.equal(ours[0].weight, _network()[0].weight)


def test_rates_between_two_steps_lie_between_theirs():
    for step in range(59):
        for earlier, between, later in zip(*(one_cycle(step + part, 60, 1.0) for part in (0, 0.5, 1)), strict=True):
            assert min(earlier, later) <= between <= max(earlier, later)


def test_denoising_does_not_load_the_compiler_of_pytorch():
    code = (
        "import sys, numpy as np, nsn2n\n"
        "noisy = np.abs(10 + np.random.default_rng(0).normal(0, 1, (3, 32, 32)))\n"
        "result = nsn2n.denoise(noisy, modality='MR', config={'fit': {'steps': 2}, 'refit': {'steps': 2}})\n"
        "print(result.measured.refit_steps, [name for name in sys.modules if name.startswith('torch._dynamo')])"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)

    assert ran.stdout.split() == ["2", "[]"]
