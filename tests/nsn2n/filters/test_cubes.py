# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Groups of similar cubes: each slice comes back once, in order, from cubes that are alike, at the ends too."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nsn2n.filters.cubes as module
from nsn2n.filters.cubes import Cubes
from nsn2n.runtime.cpus import with_threads

WHITE = np.ones((4, 4), np.float32)


def filtered(noisy, guide, shrinkage, *, size=4, step_px=3, wanted=True):
    cubes = Cubes(noisy.shape, WHITE, size, step_px)
    noisy, guide = noisy.astype(np.float32), guide.astype(np.float32)
    groups = cubes.groups(guide.__getitem__, lambda _: np.broadcast_to(wanted, noisy.shape[1:]))
    told = list(cubes.filtered(groups, noisy.__getitem__, guide.__getitem__, shrinkage))
    assert [index for index, _ in told] == list(range(len(noisy)))
    return np.stack([slice_hw for _, slice_hw in told])


def noise(depth=9, size=40, seed=0):
    return np.random.default_rng(seed).standard_normal((depth, size, size))


def all_of_it(noisy, _guide, _power):
    return torch.ones_like(noisy)


@pytest.mark.parametrize("wanted", [True, np.arange(40) < 15])
def test_groups_are_kept_as_they_were_found(wanted):
    cubes, guide = Cubes((9, 40, 40), WHITE, 4, 3), noise().astype(np.float32)
    found = list(cubes.groups(guide.__getitem__, lambda _: np.broadcast_to(wanted, (40, 40))))
    store = cubes.store()
    for group in found:
        store.keep(group)
    assert len(found) > 1
    for group, kept in zip(found, store, strict=True):
        assert kept.first_slice == group.first_slice
        assert torch.equal(kept.places, group.places)
        assert torch.equal(kept.members, group.members)


@pytest.mark.parametrize("shape", [(2, 8, 8), (3, 9, 30), (4, 8, 11), (5, 40, 17), (11, 24, 24)])
def test_what_is_wholly_kept_comes_back(shape):
    """The transforms and their inverses are exact, and a cube is everywhere, whatever the number of slices."""
    noisy = np.random.default_rng(0).standard_normal(shape)

    np.testing.assert_allclose(filtered(noisy, -noisy, all_of_it, size=64), noisy, atol=1e-4)


@pytest.mark.parametrize("slab", [1, 2**9, 2**30])
def test_slices_that_are_worked_on_together_do_not_matter(slab, monkeypatch):
    noisy, guide = noise(depth=13), noise(depth=13, seed=1)

    def share(_noisy, of_guide, _power):
        return of_guide.square() / (of_guide.square() + 1)

    at_once = filtered(noisy, guide, share)
    monkeypatch.setattr(module, "_SLAB_VOXELS", slab)

    np.testing.assert_allclose(filtered(noisy, guide, share), at_once, atol=1e-4)


def test_groups_hold_what_is_similar():
    """Stripes of period 8: the cubes at the same phase are the similar ones, the cube itself is the most similar."""
    guide = np.broadcast_to(50 * np.sin(np.arange(40) * np.pi / 4), (9, 40, 40)) + 0.01 * noise()
    cubes = Cubes(guide.shape, WHITE, 8, 3)

    for group in cubes.groups(guide.astype(np.float32).__getitem__, lambda _: np.ones((40, 40), bool)):
        columns = group.members.long() % 9 - 4

        assert (columns == 0).all()
        assert (group.members[:, 0] == 2 * 81 + 4 * 9 + 4).all()


def test_the_mean_of_a_group_has_less_noise_than_a_cube():
    """Of the coefficients that stay, 1 of 4 x 64, the noise is 1 / 16 in each group."""
    result = filtered(noise(size=64), np.zeros((9, 64, 64)), lambda noisy, *_: torch.zeros_like(noisy).index_fill_(
        2, torch.tensor([0]), 1.0) * (torch.arange(4) == 0)[None, :, None])  # fmt: skip

    assert result.std() < 1 / 14


def test_noise_next_to_a_slice_of_other_structure_is_removed_all_the_same():
    """As where slices are thick: what is in one of them is not in the next."""
    guide = np.zeros((4, 40, 40))
    guide[3] = 100 * noise(1, seed=1)[0]

    def weights(_noisy, of_guide, _power):
        return of_guide.square() / (of_guide.square() + 1)

    result = filtered(guide + noise(4), guide + 0.1 * noise(4, seed=2), weights)

    assert np.std(result[:3]) < 0.3
    assert np.std(result[3] - guide[3]) > 0.9  # here all of it may be structure


def test_where_no_cube_is_wanted_the_guide_stays():
    noisy, guide = noise(), noise(seed=1)
    wanted = np.arange(40) < 20

    result = filtered(noisy, guide, all_of_it, wanted=wanted)

    # A cube that begins among the wanted pixels may have similar ones 4 pixels away.
    np.testing.assert_array_equal(result[:, :, 28:], guide[:, :, 28:].astype(np.float32))
    np.testing.assert_allclose(result[:, :, :20], noisy[:, :, :20], atol=1e-4)


def test_a_run_gives_the_same_bytes_again():
    noisy, guide = noise(), noise(seed=1)

    np.testing.assert_array_equal(filtered(noisy, guide, all_of_it), filtered(noisy, guide, all_of_it))


def test_threads_do_not_change_a_byte():
    noisy, guide = noise(), noise(seed=1)
    expected = filtered(noisy, guide, all_of_it)

    with with_threads(3):
        np.testing.assert_array_equal(filtered(noisy, guide, all_of_it), expected)
