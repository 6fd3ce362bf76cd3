# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from nsn2n.filters.aggregation import Aggregate


@pytest.fixture(params=[False, True], ids=["floating point", "integers"])
def exact(request):
    return request.param


def filled(exact, order=slice(None), large=1.0):
    random = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 50, (400, 16), generator=random)
    values = 100 + large * torch.randn(400, 16, generator=random)
    weights = torch.rand(400, 1, generator=random) ** 8 + 1e-4
    estimates = Aggregate(60, None, exact=exact)
    estimates.add(pixels[order], values[order], weights[order])
    return estimates, pixels, values, weights.expand_as(values)


@pytest.mark.parametrize("large", [1.0, 1e5])
def test_the_mean_is_weighted(exact, large):
    estimates, pixels, values, weights = filled(exact, large=large)
    otherwise = torch.full((60,), -7.0)
    mean = estimates.mean(slice(None), otherwise)
    for pixel in range(50):
        here = pixels == pixel
        expected = (values[here].double() * weights[here]).sum() / weights[here].double().sum()
        assert float(mean[pixel]) == pytest.approx(float(expected), rel=1e-5, abs=1e-5 * large)
    assert (mean[50:] == -7).all()


def test_integers_have_the_same_sum_in_any_order():
    one, other = (filled(True, order)[0] for order in (slice(None), torch.arange(399, -1, -1)))
    nothing = torch.zeros(60)
    assert torch.equal(one.mean(slice(None), nothing), other.mean(slice(None), nothing))


def test_pixels_are_cleared_appended_and_dropped(exact):
    estimates, *_ = filled(exact)
    before = estimates.mean(slice(None), torch.zeros(60))
    estimates.clear(slice(10, 20))
    estimates.extend(5)
    after = estimates.mean(slice(None), torch.zeros(65))
    assert torch.equal(after[:10], before[:10])
    assert torch.equal(after[20:60], before[20:60])
    assert not after[10:20].any()
    assert not after[60:].any()
    estimates.drop(30)
    assert torch.equal(estimates.mean(slice(30), torch.zeros(30)), before[30:])


def test_the_mode_of_the_caller_stays():
    torch.set_deterministic_debug_mode("warn")
    try:
        filled(True)
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")
