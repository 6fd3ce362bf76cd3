# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The fit: as many steps as asked for, on crops inside the volume, and a loss that falls."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from nsn2n.errors import VolumeError
from nsn2n.runtime.compute import Compute
from nsn2n.runtime.cpus import KeptThreads, with_threads
from nsn2n.settings import FitSettings, LossSettings, MatchSettings, NetworkSettings, Settings, preset
from nsn2n.training.fitting import (
    _FEWEST_STEPS,
    Plateau,
    Problem,
    _loss,
    _PairSampler,
    _steps_in_time,
    fit,
    optimize,
    step_count,
)
from nsn2n.training.match_refinement import MatchRefinement
from nsn2n.training.networks import build_network
from nsn2n.training.optimizer import AdamW
from nsn2n.training.parts import backward

CPU = Compute(torch.device("cpu"), False)
NETWORK = NetworkSettings(channels=6, levels=2)


def _settings(refine_at=1.0, network=NETWORK, **changes):
    changes = {"steps": 10, "crop_px": 16, **changes}
    return Settings(match=MatchSettings(refine_at=refine_at), network=network, fit=FitSettings(**changes))


def _problem(slices, matched=None, error_scale=None, offset=0.0, unit=1.0):
    matched = torch.ones((len(slices) - 1, *slices.shape[1:]), dtype=torch.bool) if matched is None else matched
    return Problem(slices=slices, offset=offset, unit=unit, error_scale=error_scale, matched=matched)


def _noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def _network(settings):
    torch.manual_seed(0)
    return build_network(settings.network)


@pytest.mark.parametrize(
    ("epochs", "pairs_per_step", "pairs", "expected"),
    [(10, 4, 8, 20), (10, 4, 9, 30), (1, 4, 3, 1), (3, 1, 5, 15), (2, 2, 1, 2)],
)
def test_an_epoch_sees_each_pair_once(epochs, pairs_per_step, pairs, expected):
    settings = FitSettings(steps=None, epochs=epochs, pairs_per_step=pairs_per_step)

    assert step_count(settings, pairs) == expected


def test_steps_do_not_depend_on_the_volume():
    assert step_count(FitSettings(steps=7), 1) == step_count(FitSettings(steps=7), 1000) == 7


def test_before_another_fit_there_are_fewer_steps_unless_they_are_set():
    assert step_count(FitSettings(), 9, draft=True) < step_count(FitSettings(), 9)
    assert step_count(FitSettings(steps=7), 9, draft=True) == 7
    assert step_count(FitSettings(epochs=4), 9, draft=True) == 20


# The schedule of the learning rate has phases; there was trouble with phases of a single step.
@pytest.mark.parametrize("steps", [1, 2, 3, 9, 10, 11, 19, 20, 21])
@pytest.mark.parametrize("schedule", ["one-cycle", "constant"])
def test_any_number_of_steps(steps, schedule):
    settings = _settings(steps=steps, schedule=schedule)
    done = []

    loss, _ = fit(_network(settings), _problem(_noise(3, 16, 16)), settings, CPU, progress=done.append)

    assert loss.shape == (steps,)
    assert loss.dtype == np.float32
    assert np.isfinite(loss).all()
    assert done == pytest.approx([(step + 1) / steps for step in range(steps)])


def test_the_loss_falls_to_that_of_the_truth():
    # Flat tissue with noise of sd 1: against a noisy neighbor the identity errs by 2, the truth by 1 squared unit.
    # Huber counts a little less.
    settings = _settings(steps=120, crop_px=32, pairs_per_step=4)

    loss, _ = fit(_network(settings), _problem(_noise(8, 48, 48)), settings, CPU)

    assert loss[:3].mean() > 1.7
    assert loss[-20:].mean() < 1.15


def test_the_partner_may_be_two_slices_away():
    # Even slices are noise around 0, odd ones around 10: only slices two apart teach each other.
    slices = _noise(8, 32, 32)
    slices[1::2] += 10
    settings = Settings(
        loss=LossSettings(huber_delta=None), network=NETWORK, fit=FitSettings(steps=3, crop_px=32, stop_gain=None)
    )
    problem = replace(_problem(slices, matched=torch.ones((6, 32, 32), dtype=torch.bool)), distance=2)

    loss, _ = fit(_network(settings), problem, settings, CPU)

    assert loss.max() < 3


@pytest.mark.slow
def test_what_neighbors_share_is_not_learned():
    # Each slice shares half of its noise with the next: a fit that does not know it keeps that half.
    slices = _noise(13, 48, 48)
    slices = (slices[1:] + slices[:-1]) / 2**0.5
    settings = _settings(steps=400, crop_px=32, pairs_per_step=4, stop_gain=None)
    left = {}
    for correlation in (0.0, 0.5):
        network = _network(settings)
        fit(network, replace(_problem(slices), correlation=correlation), settings, CPU)
        with torch.inference_mode():
            left[correlation] = network(slices.unsqueeze(1)).std().item()

    assert left[0.0] == pytest.approx(0.5, abs=0.1)
    assert left[0.5] < 0.65 * left[0.0]


def test_units_and_offset_do_not_change_the_fit():
    settings = _settings(steps=5)
    slices = _noise(4, 20, 24)

    plain, _ = fit(_network(settings), _problem(slices), settings, CPU)
    scaled, _ = fit(_network(settings), _problem(slices * 64 + 128, offset=128.0, unit=64.0), settings, CPU)

    np.testing.assert_allclose(scaled, plain, rtol=1e-4)


def test_errors_are_divided_by_their_scale():
    settings = Settings(loss=preset("paper").loss, network=NETWORK, fit=FitSettings(steps=1, crop_px=16))
    slices = _noise(4, 20, 24)

    plain, _ = fit(_network(settings), _problem(slices), settings, CPU)
    halved, _ = fit(_network(settings), _problem(slices, error_scale=torch.full_like(slices, 2.0)), settings, CPU)

    assert halved[0] == pytest.approx(plain[0] / 4, rel=1e-5)


def test_nothing_matched_teaches_nothing():
    settings = _settings(steps=5)
    network, slices = _network(settings), _noise(3, 16, 16)

    loss, _ = fit(network, _problem(slices, matched=torch.zeros(2, 16, 16, dtype=torch.bool)), settings, CPU)

    assert not loss.any()
    assert torch.equal(network(slices.unsqueeze(1)), slices.unsqueeze(1))


@pytest.mark.parametrize(("refine_at", "expected"), [(0.0, 0), (0.4, 4), (0.41, 5), (0.99, None), (1.0, None)])
def test_the_neighbors_are_judged_again_once_at_its_time(refine_at, expected):
    settings = _settings(steps=10, refine_at=refine_at)
    problem = _problem(_noise(3, 16, 16))
    done, called_after = [], []

    def rematch(network):
        called_after.append(len(done))
        return lambda noisy, noisy_next, sd, sd_next: torch.zeros_like(noisy, dtype=torch.bool)

    loss, matched_fraction = fit(
        _network(settings), problem, settings, CPU, refine_matches=rematch, progress=done.append
    )

    # 0.99 of 10 steps is only reached when all are done.
    assert called_after == ([] if expected is None else [expected])
    # The new regions, here none, hold from then on.
    until = 10 if expected is None else expected
    assert (loss[:until] > 0).all()
    assert not loss[until:].any()
    assert matched_fraction == (1 if expected is None else 0)


def test_the_neighbors_are_judged_again_by_the_network_as_it_would_be_returned_then():
    problem = _problem(_noise(3, 16, 16))
    judged_by = []

    def rematch(network):
        judged_by.append({name: tensor.clone() for name, tensor in network.state_dict().items()})
        return lambda noisy, noisy_next, sd, sd_next: torch.ones_like(noisy, dtype=torch.bool)

    settings = _settings(steps=10, refine_at=0.5)
    fit(_network(settings), problem, settings, CPU, refine_matches=rematch)
    ends_there = _settings(steps=5)
    network = _network(ends_there)
    fit(network, problem, ends_there, CPU)

    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(judged_by[0][name], tensor)


def test_a_judge_sees_the_crops_of_both_slices_and_may_not_match_what_is_invalid():
    slices = _numbered(3, 16, 16)
    problem = replace(_problem(slices, error_scale=slices + 0.5), valid=slices % 5 != 0)
    sampler = _PairSampler(problem, FitSettings(crop_px=8), seed=0)
    seen = []

    def judge(noisy, noisy_next, sd, sd_next):
        seen.append((noisy, noisy_next, sd, sd_next))
        return torch.ones_like(noisy, dtype=torch.bool)

    sampler.judge_by(judge)
    batch = sampler.draw()

    noisy, noisy_next, sd, sd_next = seen[0]
    assert torch.equal(noisy, batch.noisy)
    assert torch.equal(noisy_next, noisy + 256)
    assert torch.equal(sd, noisy + 0.5)
    assert torch.equal(sd_next, noisy_next + 0.5)
    assert torch.equal(batch.matched, ((noisy % 5 != 0) & (noisy_next % 5 != 0)).float())
    assert sampler.matched_fraction == pytest.approx(float(batch.matched.mean()))


def test_a_loss_that_is_not_finite_stops_the_fit():
    settings = _settings(steps=10)
    slices = _noise(3, 16, 16)
    slices[1, 4, 4] = torch.inf

    with pytest.raises(VolumeError, match=r"loss must stay finite; got (nan|inf) at step 1 of 10"):
        fit(_network(settings), _problem(slices), settings, CPU)


@pytest.mark.parametrize(("schedule", "steps"), [("averaged", 200), ("constant", 200), ("constant", 40)])
def test_a_loss_that_is_not_finite_is_seen_before_the_fit_ends(schedule, steps):
    network = nn.Linear(1, 1)
    done = []

    def loss(step, so_far):
        factors = (1.0, math.nan if step == 29 else 1.0, 1.0)
        return [lambda factor=factor: network(torch.ones(1)).sum() * factor for factor in factors]

    with (
        with_threads(2),
        KeptThreads() as threads,
        pytest.raises(VolumeError, match=f"loss must stay finite; got nan at step 30 of {steps}"),
    ):
        optimize(network, loss, steps, FitSettings(schedule=schedule), threads=threads, progress=done.append)

    assert done[-1] == min(50 / steps, 1)


class _ReadValues(TorchDispatchMode):
    """Counts the values that are read out of tensors: on a GPU the program waits there for all that was begun."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("schedule", ["averaged", "one-cycle", "constant"])
def test_a_step_waits_for_no_gpu(schedule):
    read = {}
    for steps in (5, 25):
        settings = _settings(steps=steps, schedule=schedule)
        network, problem = _network(settings), _problem(_noise(3, 16, 16))
        with with_threads(1), _ReadValues() as values:  # it sees the operations of its own thread
            fit(network, problem, settings, CPU)
        read[steps] = values.count
    # The count of averaged steps lies on the CPU.
    own = 3 * 20 if schedule == "averaged" else 0
    assert read[25] - read[5] == own


@pytest.mark.parametrize("regional_consistency", [0.0, 0.5])
@pytest.mark.parametrize("interslice_continuity", [0.0, 1.0])
def test_each_term_counts_with_its_weight(regional_consistency, interslice_continuity):
    # The network of the first step is the identity: L_recon is the mean squared difference of the neighbors and L_RC
    # the same; L_IC of a linear network is 0.
    loss_settings = {
        "huber_delta": None,
        "regional_consistency": regional_consistency,
        "interslice_continuity": interslice_continuity,
    }
    base = _settings(steps=1)
    settings = Settings.from_mapping({"loss": loss_settings}, base)
    slices = torch.stack([torch.zeros(16, 16), torch.full((16, 16), 3.0)])

    loss, _ = fit(_network(settings), _problem(slices), settings, CPU)

    assert loss[0] == pytest.approx(9 * (1 + regional_consistency))


TERMS = {
    "plain": {},
    "regional consistency": {"regional_consistency": 0.5},
    "interslice continuity": {"interslice_continuity": 0.7},
    "both, squared": {"regional_consistency": 0.5, "interslice_continuity": 0.7, "huber_delta": None},
}


def _taught(settings):
    """A network in which no gradient is 0, as those of a new one are."""
    network = _network(settings)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn(parameter.shape)
    return network


@pytest.mark.parametrize("terms", TERMS.values(), ids=TERMS)
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("matched", [(0.9, 0.2, 0.0), (0.5, 0.5, 0.5), (0.0, 0.0, 0.0)], ids=["some", "half", "none"])
def test_the_gradients_of_the_pairs_add_up_to_those_of_the_batch(terms, scaled, matched):
    settings = Settings(loss=LossSettings(**terms), network=NETWORK)
    slices = _noise(6, 40, 40)
    problem = _problem(slices, error_scale=0.5 + _noise(6, 40, 40, seed=1).abs() if scaled else None)
    batch = _PairSampler(problem, FitSettings(crop_px=16, pairs_per_step=3), seed=0).draw()
    network = _taught(settings)
    regions = torch.rand(batch.matched.shape) < torch.tensor(matched)[:, None, None, None]
    batch = replace(batch, matched=regions.float())
    parameters = list(network.parameters())
    whole = backward(parameters, [lambda: _loss(network, batch, settings.loss, CPU, 0.3)])
    expected = torch.cat([parameter.grad.flatten() for parameter in parameters])

    pairs = [lambda pair=pair: _loss(network, pair, settings.loss, CPU, 0.3) for pair in batch.pairs()]
    loss = backward(parameters, pairs)
    gradients = torch.cat([parameter.grad.flatten() for parameter in parameters])

    assert len(pairs) == 3
    assert expected.any() == (any(matched) or "interslice_continuity" in terms)
    torch.testing.assert_close(loss, whole, rtol=1e-6, atol=0)
    torch.testing.assert_close(gradients, expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


def test_the_number_of_threads_changes_no_bit():
    loss = LossSettings(regional_consistency=0.5, interslice_continuity=0.5)
    settings = replace(_settings(steps=6, pairs_per_step=5, refine_at=0.5), loss=loss)
    found = []
    for threads in (1, 2, 4):
        network = _network(settings)
        with with_threads(threads):
            history, matched = fit(
                network, _problem(_noise(4, 30, 30)), settings, CPU,
                refine_matches=lambda so_far: MatchRefinement(so_far, settings.match, CPU),
            )  # fmt: skip
        found.append([torch.from_numpy(history), torch.tensor(matched), *network.state_dict().values()])

    assert 0 < found[0][1] < 1
    for other in found[1:]:
        assert all(torch.equal(mine, first) for mine, first in zip(other, found[0], strict=True))


def _numbered(depth, height, width):
    """A volume in which each voxel's value says where it is."""
    return torch.arange(depth * height * width, dtype=torch.float32).reshape(depth, height, width)


@pytest.mark.parametrize("size", [(40, 50), (16, 16), (5, 40), (7, 3)])
def test_crops_lie_inside_and_pairs_belong_together(size):
    height, width = size
    slices = _numbered(6, height, width)
    matched = slices[:-1] % 3 == 0
    problem = _problem(slices, matched=matched, error_scale=slices + 0.5)
    sampler = _PairSampler(problem, FitSettings(crop_px=16, pairs_per_step=3), seed=4)
    crop = (min(16, height), min(16, width))
    seen, orders = set(), set()

    for _ in range(100):
        batch = sampler.draw()
        assert batch.noisy.shape == (3, 1, *crop)
        # The next slice is further by a slice's voxels; region and scale are those of the first.
        assert torch.equal(batch.noisy_next, batch.noisy + height * width)
        assert torch.equal(batch.matched, (batch.noisy % 3 == 0).float())
        assert torch.equal(batch.scale, batch.noisy + 0.5)
        for one in batch.noisy[:, 0]:
            low = int(one.min())
            z, y, x = np.unravel_index(low, slices.shape)
            block = slices[z, y : y + crop[0], x : x + crop[1]]
            assert block.shape == crop
            flips = [axes for axes in ((), (0,), (1,), (0, 1)) if torch.equal(one.flip(axes), block)]
            assert flips, "not a crop of one slice"
            orders.add(flips[0])
            seen.add(int(z))

    assert seen == set(range(5))
    assert orders == {(), (0,), (1,), (0, 1)}


def test_without_flips_crops_are_upright():
    slices = _numbered(3, 20, 20)
    sampler = _PairSampler(_problem(slices), FitSettings(crop_px=8, flips=False), seed=0)

    for _ in range(50):
        batch = sampler.draw()
        assert (batch.noisy.diff(dim=-1) == 1).all()
        assert (batch.noisy.diff(dim=-2) == 20).all()


def test_crops_reach_every_voxel():
    # The corners are the hardest to hit: each is in 1 of 5 x 5 crops.
    slices = _numbered(2, 12, 12)
    sampler = _PairSampler(_problem(slices), FitSettings(crop_px=8), seed=0)

    seen = torch.cat([sampler.draw().noisy.flatten() for _ in range(200)]).unique()

    assert len(seen) == 12 * 12


def test_crops_come_from_the_seed():
    def corners(seed):
        sampler = _PairSampler(_problem(_numbered(9, 60, 60)), FitSettings(crop_px=8), seed)
        return [float(sampler.draw().noisy[0].flatten()[0]) for _ in range(8)]

    assert corners(1) == corners(1)
    assert corners(1) != corners(2)


@pytest.mark.parametrize(
    ("losses", "stops_at"),
    [
        ([1.0, 0.9, 0.8, 0.7, 0.6], None),
        ([1.0, 0.9, 0.9, 0.9], 3),
        ([1.0, 0.9, 0.95, 0.8, 0.9, 0.81], 5),
        # Lower, but by less than a hundredth.
        ([1.0, 0.995, 0.991], 2),
        ([1.0, 1.0], None),
    ],
)
def test_a_plateau_is_two_looks_without_gain(losses, stops_at):
    plateau = Plateau(0.01)

    reached = [plateau.reached(loss) for loss in losses]

    assert (reached.index(True) if True in reached else None) == stops_at


def test_without_a_gain_to_ask_for_there_is_no_plateau():
    assert not any(Plateau(None).reached(1.0) for _ in range(10))


def test_a_fit_that_gains_nothing_more_stops_early_and_one_that_may_not_goes_on():
    # Nothing is matched: the loss is 0 from the first step on.
    slices = _noise(3, 16, 16)
    problem = _problem(slices, matched=torch.zeros(2, 16, 16, dtype=torch.bool))

    losses = [
        fit(_network(settings), problem, settings, CPU).loss
        for settings in (_settings(steps=250, crop_px=8), _settings(steps=250, crop_px=8, stop_gain=None))
    ]

    assert [len(loss) for loss in losses] == [150, 250]


@pytest.mark.parametrize("deadline", [math.inf, 0.0])
def test_one_cycle_ends_where_the_fit_ends(deadline, monkeypatch):
    # A deadline that has passed leaves 20 of the 60 steps: the learning rate must fall within these.
    rates = []

    class Recorded(AdamW):
        def step(self, used):
            rates.append(used.learning_rate)
            super().step(used)

    monkeypatch.setattr("nsn2n.training.steps.AdamW", Recorded)
    settings = _settings(steps=60, schedule="one-cycle")

    fit(_network(settings), _problem(_noise(3, 16, 16)), settings, CPU, deadline=deadline)

    assert len(rates) == (20 if deadline == 0 else 60)
    assert max(rates) == pytest.approx(settings.fit.learning_rate, rel=0.02)
    assert np.argmax(rates) == pytest.approx(0.1 * len(rates), abs=1)
    assert rates[-1] < 0.05 * max(rates)


@pytest.mark.parametrize(
    ("deadline", "expected"), [(math.inf, 300), (1e6, 300), (-1e6, _FEWEST_STEPS)], ids=["none", "far", "past"]
)
def test_steps_that_a_deadline_leaves(deadline, expected):
    now = time.perf_counter()

    assert _steps_in_time(300, taken=10, started=now - 1, deadline=now + deadline) == expected


def test_steps_that_a_deadline_leaves_are_those_of_the_pace_so_far():
    now = time.perf_counter()

    # 10 steps took 100 s, and 900 s are left.
    assert _steps_in_time(300, taken=10, started=now - 100, deadline=now + 900) == pytest.approx(100, rel=0.01)


def test_a_deadline_that_has_passed_leaves_twenty_steps():
    settings = _settings(steps=250, crop_px=8)

    assert len(fit(_network(settings), _problem(_noise(3, 16, 16)), settings, CPU, deadline=0.0).loss) == 20


def test_the_result_is_the_mean_of_the_weights_of_all_steps_each_counted_by_its_number():
    network = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(network.weight)
    settings = FitSettings(learning_rate=0.5, weight_decay=0, gradient_norm=None)
    seen, means = [], []

    def loss(step, so_far):
        means.append(so_far.weight.item())
        return [lambda: (network.weight - 10).square().sum()]

    optimize(network, loss, 30, settings, progress=lambda _: seen.append(network.weight.item()))

    # Each step is told the mean of those before it; the network ends as the mean of all.
    means = [*means[1:], network.weight.item()]
    numbers = np.arange(1, 31)
    assert means == pytest.approx(np.cumsum(numbers * seen) / np.cumsum(numbers), rel=1e-5)
    assert network.weight.item() != pytest.approx(seen[-1], abs=0.05)
