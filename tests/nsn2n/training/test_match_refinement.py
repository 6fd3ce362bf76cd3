# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Neighbors judged by a network: by what it makes of them, in units of the noise, as it was when it was asked."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nsn2n.runtime.compute import Compute
from nsn2n.settings import MatchSettings
from nsn2n.training.match_refinement import MatchRefinement

CPU = Compute(torch.device("cpu"), False)


class Scale(nn.Module):
    """Multiplies what it sees."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, slices, scale=None):
        return self.factor * slices


def _crops(value=0.0, size=21):
    return torch.full((1, 1, size, size), value)


def _judge(factor=1.0, smoothing_px=0.0, threshold_sd=1.0):
    settings = MatchSettings(refine_smoothing_px=smoothing_px, refine_threshold_sd=threshold_sd)
    return MatchRefinement(Scale(factor), settings, CPU)


@pytest.mark.parametrize(("step", "matched"), [(0.0, True), (0.99, True), (-0.99, True), (1.01, False), (-3.0, False)])
def test_denoised_neighbors_match_within_the_threshold(step, matched):
    assert bool((_judge()(_crops(5.0), _crops(5.0 + step), None, None) == matched).all())


def test_it_is_the_networks_output_that_is_compared():
    assert bool(_judge(factor=0.5)(_crops(4.0), _crops(5.9), None, None).all())
    assert not bool(_judge(factor=2.0)(_crops(4.0), _crops(4.6), None, None).any())


def test_differences_count_in_the_noise_of_one_slice():
    # The root of the mean of 1 and 49 is 5.
    sd, sd_next = torch.ones(1, 1, 21, 21), torch.full((1, 1, 21, 21), 7.0)
    judge = _judge()

    assert bool(judge(_crops(0.0), _crops(4.9), sd, sd_next).all())
    assert not bool(judge(_crops(0.0), _crops(5.1), sd, sd_next).any())


def test_a_lone_pixel_is_smoothed_away_and_a_spot_is_not():
    lone, broad = _crops(), _crops()
    lone[0, 0, 10, 10] = 1.5
    broad[0, 0, 7:14, 7:14] = 1.5

    assert not bool(_judge()(_crops(), lone, None, None)[0, 0, 10, 10])
    assert bool(_judge(smoothing_px=1.0)(_crops(), lone, None, None).all())
    matched = _judge(smoothing_px=1.0)(_crops(), broad, None, None)
    assert not bool(matched[0, 0, 10, 10])
    assert bool(matched[0, 0, 0, 0])


def test_it_keeps_the_network_as_it_was_and_leaves_that_in_its_mode():
    network = Scale(1.0)
    network.train()
    judge = MatchRefinement(network, MatchSettings(refine_smoothing_px=0.0), CPU)
    before = judge(_crops(0.0), _crops(0.6), None, None)

    with torch.no_grad():
        network.factor.fill_(10.0)

    assert torch.equal(judge(_crops(0.0), _crops(0.6), None, None), before)
    assert bool(before.all())
    assert network.training
