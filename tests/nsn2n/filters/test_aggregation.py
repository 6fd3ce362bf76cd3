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
    estimates.add(pixels[order], values[order], weights[order], torch.full((60,), 90.0))
    return estimates, pixels, values, weights.expand_as(values)


@pytest.mark.parametrize("large", [1.0, 1e4])
def test_the_mean_is_weighted(exact, large):
    estimates, pixels, values, weights = filled(exact, large=large)
    mean = estimates.mean(slice(None), torch.full((60,), 90.0))
    for pixel in range(50):
        here = pixels == pixel
        expected = (values[here].double() * weights[here]).sum() / weights[here].double().sum()
        assert float(mean[pixel]) == pytest.approx(float(expected), rel=1e-5, abs=1e-5 * large)
    assert (mean[50:] == 90).all()


def test_integers_have_the_same_sum_in_any_order():
    one, other = (filled(True, order)[0] for order in (slice(None), torch.arange(399, -1, -1)))
    reference = torch.full((60,), 90.0)
    assert torch.equal(one.mean(slice(None), reference), other.mean(slice(None), reference))


def test_no_sum_overflows():
    """A thousand estimates as far from the reference as counts, under the largest weight; what is farther is cut."""
    for value, expected in ((9e4, 9e4), (-1e30, 90 - 1e5)):
        estimates = Aggregate(1, None, exact=True)
        shape = (1000, 1)
        pixels, reference = torch.zeros(shape, dtype=torch.int64), torch.tensor([90.0])
        estimates.add(pixels, torch.full(shape, value), torch.full(shape, 1e3), reference)
        assert float(estimates.mean(slice(None), reference)) == pytest.approx(expected, rel=1e-6)


def test_pixels_are_cleared_appended_and_dropped(exact):
    estimates, *_ = filled(exact)
    before = estimates.mean(slice(None), torch.full((60,), 90.0))
    estimates.clear(slice(10, 20))
    estimates.extend(5)
    after = estimates.mean(slice(None), torch.full((65,), 90.0))
    assert torch.equal(after[:10], before[:10])
    assert torch.equal(after[20:60], before[20:60])
    assert (after[10:20] == 90).all()
    assert (after[60:] == 90).all()
    estimates.drop(30)
    assert torch.equal(estimates.mean(slice(30), torch.full((30,), 90.0)), before[30:])


def test_the_mode_of_the_caller_stays():
    torch.set_deterministic_debug_mode("warn")
    try:
        filled(True)
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode("default")


def test_sums_of_a_part_count_where_it_belongs(exact):
    reference = torch.full((60,), 90.0)
    estimates, *_ = filled(exact)
    part = Aggregate(5, None, exact=exact)
    part.add(torch.tensor([[0, 3]]), torch.tensor([[70.0, 80.0]]), torch.tensor([[1.0]]), reference[:5])

    estimates.include(part, [slice(52, 54), slice(57, 60)])

    mean = estimates.mean(slice(None), reference)
    assert (mean[52], mean[58]) == (70, 80)
    assert (mean[[53, 57, 59]] == 90).all()
