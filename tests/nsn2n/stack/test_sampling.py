# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Slices that stand for all."""

from __future__ import annotations

import pytest

from nsn2n.stack.sampling import evenly_spread


@pytest.mark.parametrize(
    ("count", "most", "expected"),
    [(1, 4, [0]), (3, 4, [0, 1, 2]), (4, 4, [0, 1, 2, 3]), (9, 3, [0, 4, 8]), (10, 3, [0, 4, 9]), (5, 1, [0])],
)
def test_from_the_first_to_the_last(count, most, expected):
    assert evenly_spread(count, most) == expected


@pytest.mark.parametrize("count", [1, 2, 15, 16, 17, 31, 33, 1000])
def test_no_index_comes_twice_and_none_is_out_of_range(count):
    found = evenly_spread(count, 16)

    assert len(found) == min(count, 16)
    assert sorted(set(found)) == found
    assert 0 == found[0] <= found[-1] == count - 1
