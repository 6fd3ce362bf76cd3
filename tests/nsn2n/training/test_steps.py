# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import copy
from dataclasses import replace
from unittest import mock

import pytest
import torch
from torch import nn

from nsn2n.settings import FitSettings
from nsn2n.training.optimizer import Rates, one_cycle
from nsn2n.training.steps import RecordedSteps, Steps, steps_of

SETTINGS = FitSettings(weight_decay=0.01)
SCHEDULES = ["averaged", "one-cycle"]


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU that it can use: NO STEP WAS RECORDED")
    return torch.device(request.param)


class Task:
    """A network that learns to halve values that change from step to step."""

    def __init__(self, device):
        torch.manual_seed(0)
        layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1)]
        self.network = nn.Sequential(*layers).to(device, memory_format=torch.channels_last)
        self.values = torch.zeros(4, 1, 12, 12, device=device)
        self.whole = [self._loss]

    def _loss(self):
        return (self.network(self.values) - self.values / 2).square().mean()

    def run(self, steps, schedule, count=12):
        """The losses, and the weights afterwards."""
        random = torch.Generator().manual_seed(1)
        losses = []
        for step in range(count):
            self.values.copy_(torch.randn(self.values.shape, generator=random))
            rates = one_cycle(step, count, 1e-2) if schedule == "one-cycle" else Rates(1e-2)
            losses.append(float(steps.take(self.whole, rates)))
        return losses, [each.detach().cpu().clone() for each in (steps.averaged or self.network).parameters()]


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_recorded_steps_do_what_steps_do(schedule, device):
    settings = replace(SETTINGS, schedule=schedule)
    first, second = Task(device), Task(device)
    losses, weights = first.run(Steps(first.network, settings), schedule)
    recorded = RecordedSteps(second.network, settings)
    losses_of_recorded, weights_of_recorded = second.run(recorded, schedule)
    assert losses_of_recorded == pytest.approx(losses, rel=1e-3)
    assert losses[-1] < losses[0] / 2
    for found, expected in zip(weights_of_recorded, weights, strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert (recorded.averaged is None) == (schedule == "one-cycle")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU that it can use: NO STEP WAS RECORDED")
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_a_replay_gives_the_bytes_of_the_operations(schedule):
    settings = replace(SETTINGS, schedule=schedule)
    results = []
    for records in (True, False):
        task = Task(torch.device("cuda"))
        steps = RecordedSteps(task.network, settings)
        steps._records = records
        with mock.patch.object(
            torch.cuda.CUDAGraph, "replay", autospec=True, side_effect=torch.cuda.CUDAGraph.replay
        ) as replay:
            results.append(task.run(steps, schedule))
        assert replay.call_count == (9 if records else 0)
    (losses, weights), (losses_of_operations, weights_of_operations) = results
    assert losses == losses_of_operations
    assert all(torch.equal(a, b) for a, b in zip(weights, weights_of_operations, strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch finds no GPU that it can use: NO STEP WAS RECORDED")
def test_what_cannot_be_recorded_is_computed_as_it_comes():
    device = torch.device("cuda")
    task, reference = Task(device), Task(device)
    loss = task.whole[0]

    def reads_a_value():
        result = loss()
        assert float(result) > 0  # not permitted while a graph is recorded
        return result

    task.whole = [reads_a_value]
    losses, weights = task.run(RecordedSteps(task.network, SETTINGS), "averaged")
    expected_losses, expected = reference.run(Steps(reference.network, SETTINGS), "averaged")
    assert losses == pytest.approx(expected_losses, rel=1e-3)
    for found, wanted in zip(weights, expected, strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)


def test_other_parts_are_computed_anew():
    device = torch.device("cpu")
    task = Task(device)
    steps = RecordedSteps(task.network, SETTINGS)
    before = float(steps.take(task.whole, Rates(0.0)))
    doubled = float(steps.take([lambda: 2 * task.whole[0]() + 1], Rates(0.0)))
    assert doubled == pytest.approx(2 * before + 1)


def test_steps_on_a_cpu_are_not_recorded(device):
    network = copy.deepcopy(Task(device).network)
    assert isinstance(steps_of(network, SETTINGS), Steps if device.type == "cpu" else RecordedSteps)
