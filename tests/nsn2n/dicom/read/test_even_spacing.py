# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Where a stack of slices is cut into runs of equal steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsn2n.dicom.read.even_spacing import MOST_RUNS, is_even, split_runs


def along_z(*steps_mm):
    """Positions with these steps from one to the next."""
    z = np.concatenate([[0.0], np.cumsum(steps_mm)])
    return np.column_stack([np.zeros_like(z), np.zeros_like(z), z])


@pytest.mark.parametrize(
    ("steps_mm", "runs"),
    [
        ([1.0] * 9, (10,)),
        ([4.0] * 13 + [1.08] + [7.0] * 13, (14, 14)),  # a head scan in two halves
        ([4.0] * 13 + [7.0] * 13, (14, 13)),  # the same without a junction: the longer step is cut
        ([1.0] * 4 + [300.0] + [1.0] * 5 + [2.0] + [1.0] * 3, (5, 6, 4)),
        ([2.0, 1.0, 1.0, 1.0], (1, 4)),
        ([1.0, 1.0, 1.0, 3.0, 4.0], (4, 1, 1)),  # no pair across a gap
        ([2.5] * 8 + [5.0] * 6, (9, 6)),
        ([1.0, 1.0, 1.0, 2.0], (4, 1)),
        ([1.02, 0.98, 1.02, 3.0, 0.98, 1.02, 0.98], (4, 4)),  # jitter of positions beside a gap
    ],
)
def test_a_stack_is_cut_where_its_step_is_another_one(steps_mm, runs):
    assert split_runs(along_z(*steps_mm), float(np.median(steps_mm))) == runs


def test_a_step_to_the_side_cuts_too():
    """A table that moved sideways: distances along the normal are even, but neighbors are not above each other."""
    positions = along_z(*[2.0] * 7)
    positions[4:, 0] = 15
    assert split_runs(positions, 2.0) == (4, 4)


@given(
    counts=st.lists(st.integers(4, 12), min_size=1, max_size=6),
    spacings=st.lists(st.sampled_from([0.5, 1.0, 2.5, 5.0]), min_size=6, max_size=6),
    gap=st.sampled_from([13.0, 20.0, 111.0]),
    jitter=st.integers(0, 2**32 - 1),
)
def test_runs_between_gaps_are_found_whatever_their_spacing(counts, spacings, gap, jitter):
    steps = []
    for count, spacing in zip(counts, spacings, strict=False):
        steps += [*[spacing] * (count - 1), gap]
    positions = along_z(*steps[:-1])
    positions += np.random.default_rng(jitter).uniform(-0.004, 0.004, positions.shape)
    found = split_runs(positions, 1.0)
    assert found == tuple(counts)
    ends = np.cumsum(found)
    assert all(is_even(positions[end - count : end]) for count, end in zip(found, ends, strict=True))


def test_a_stack_without_any_order_is_given_up():
    steps = np.random.default_rng(1).uniform(1, 5, 400)
    assert split_runs(along_z(*steps), 3.0) is None
    assert split_runs(along_z(*steps[: MOST_RUNS - 1]), 3.0) is not None
