# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Each term of the loss against cases worked out by hand, and where the terms must be 0."""

from __future__ import annotations

import pytest
import torch

from nsn2n.training.losses import (
    independent_noise,
    independent_targets,
    interslice_continuity_loss,
    reconstruction_loss,
    regional_consistency_loss,
)


def _slice(*values):
    """Four values as a tensor of shape (1, 1, 2, 2)."""
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 2, 2)


ALL = _slice(1, 1, 1, 1)
ZERO = _slice(0, 0, 0, 0)


def test_reconstruction_by_hand():
    # f(x_i) - x_{i+1} = (1, 2, 3, 4) - (0, 2, 1, 7) = (1, 0, 2, -3): squares 1, 0, 4, 9.
    # f(x_{i+1}) - x_i = (0, 1, 5, 2) - (1, 1, 1, 1) = (-1, 0, 4, 1): squares 1, 0, 16, 1.
    # Matched are the first, third and fourth: (14 / 3 + 18 / 3) / 2 = 16 / 3.
    loss = reconstruction_loss(
        _slice(1, 2, 3, 4), _slice(0, 1, 5, 2), ALL, _slice(0, 2, 1, 7), _slice(1, 0, 1, 1), scale=1.0
    )

    assert loss.item() == pytest.approx(16 / 3)


def test_each_direction_is_compared_with_the_other_slice():
    # Were a slice compared with itself, the identity would have no loss.
    noisy, noisy_next = _slice(1, 2, 3, 4), _slice(2, 2, 3, 4)

    assert reconstruction_loss(noisy, noisy_next, noisy, noisy_next, ALL).item() == pytest.approx(0.25)
    assert reconstruction_loss(noisy_next, noisy, noisy, noisy_next, ALL).item() == 0


def test_regional_consistency_by_hand():
    # Differences 1, -2, 3, -4; matched are the second and the fourth: (4 + 16) / 2.
    loss = regional_consistency_loss(_slice(2, 0, 3, 0), _slice(1, 2, 0, 4), _slice(0, 1, 0, 1))

    assert loss.item() == pytest.approx(10)


def test_interslice_continuity_by_hand():
    # Mean of the neighbors (1, 2, 3, 4); minus (1, 0, 3, 5) gives 0, 2, 0, -1: (4 + 1) / 4, whatever is matched.
    loss = interslice_continuity_loss(_slice(1, 0, 3, 5), _slice(0, 2, 6, 8), _slice(2, 2, 0, 0))

    assert loss.item() == pytest.approx(1.25)


def test_scale_divides_the_errors():
    # Errors 2, 4, 6, 8 in units of 1, 2, 3, 4 are 2 each.
    scale = _slice(1, 2, 3, 4)
    errors = _slice(2, 4, 6, 8)

    assert regional_consistency_loss(errors, ZERO, ALL, scale=scale).item() == pytest.approx(4)
    assert interslice_continuity_loss(errors, ZERO, ZERO, scale=scale).item() == pytest.approx(4)
    assert reconstruction_loss(errors, ZERO, ZERO, ZERO, ALL, scale=scale).item() == pytest.approx(2)


def test_huber_is_the_square_up_to_delta_and_linear_beyond():
    # With delta 2: e^2 for |e| <= 2, else 4 |e| - 4, which meets it in value (4) and slope (4) at 2.
    for error, expected in ((0.5, 0.25), (-2.0, 4.0), (3.0, 8.0), (-10.0, 36.0), (1000.0, 3996.0)):
        loss = regional_consistency_loss(_slice(error, 0, 0, 0), ZERO, _slice(1, 0, 0, 0), huber_delta=2.0)
        assert loss.item() == pytest.approx(expected), error


def test_the_gradient_of_an_outlier_is_bounded_by_huber():
    error = _slice(1e4, 0, 0, 0).requires_grad_()

    regional_consistency_loss(error, ZERO, _slice(1, 0, 0, 0), huber_delta=2.0).backward()

    assert error.grad.flatten().tolist() == pytest.approx([4.0, 0, 0, 0])


@pytest.mark.parametrize("huber_delta", [None, 2.0])
def test_nothing_matched_is_no_loss_and_no_gradient(huber_delta):
    denoised = _slice(1, 2, 3, 4).requires_grad_()

    loss = reconstruction_loss(denoised, denoised, ZERO, ZERO, ZERO, huber_delta=huber_delta)
    loss = loss + regional_consistency_loss(denoised, 2 * denoised, ZERO, huber_delta=huber_delta)
    loss.backward()

    assert loss.item() == 0
    assert denoised.grad.eq(0).all()


def test_the_matched_mean_does_not_depend_on_how_much_is_matched():
    errors = torch.full((2, 1, 8, 8), 3.0)
    for count in (1, 17, 128):
        matched = (torch.arange(128) < count).float().reshape(2, 1, 8, 8)
        loss = regional_consistency_loss(errors, torch.zeros_like(errors), matched)
        assert loss.item() == pytest.approx(9)


def test_a_linear_network_has_no_interslice_discontinuity():
    torch.manual_seed(0)
    linear = torch.nn.Conv2d(1, 1, 3, padding=1).double()
    first, second = torch.randn(2, 3, 1, 9, 7, dtype=torch.float64)

    loss = interslice_continuity_loss(linear(0.5 * (first + second)), linear(first), linear(second))
    bent = interslice_continuity_loss(
        linear(0.5 * (first + second)).relu(), linear(first).relu(), linear(second).relu()
    )

    assert loss.item() < 1e-25
    assert bent.item() > 1e-3


def test_targets_without_the_shared_noise_by_hand():
    # (2 - 0.5 * 1) / 0.5 = 3 and (1 - 0.5 * 2) / 0.5 = 0; where both are alike they stay as they are.
    target, target_next = independent_targets(_slice(1, 5, 0, -2), _slice(2, 5, 0, -2), 0.5)

    assert target_next.flatten().tolist() == [3, 5, 0, -2]
    assert target.flatten().tolist() == [0, 5, 0, -2]


def test_independent_slices_are_targets_as_they_are():
    target, target_next = independent_targets(ALL, ZERO, 0.0)

    assert target is ALL
    assert target_next is ZERO
    assert independent_noise(0.0) == 1


def test_the_noise_of_such_targets_is_uncorrelated_with_the_slice():
    correlation = 0.4
    first, other = torch.randn(2, 1, 1, 400, 400, generator=torch.Generator().manual_seed(0))
    noise, noise_next = first, correlation * first + (1 - correlation**2) ** 0.5 * other
    target, target_next = independent_targets(7 + noise, 7 + noise_next, correlation)

    assert torch.mean(noise * (target_next - 7)).item() == pytest.approx(0, abs=0.02)
    assert torch.mean(noise_next * (target - 7)).item() == pytest.approx(0, abs=0.02)
    assert target.mean().item() == pytest.approx(7, abs=0.02)
    assert target.std().item() == pytest.approx(independent_noise(correlation), rel=0.02)
