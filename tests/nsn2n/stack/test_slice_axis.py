# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.stack.slice_axis import slices_along, slices_first


@pytest.mark.parametrize(
    ("spacing", "axes"),
    [
        ((5.0, 1.0, 1.0), (0, 2, 1)),
        ((1.0, 5.0, 1.0), (1, 2, 0)),
        ((1.0, 1.0, 5.0), (2, 1, 0)),
        ((1.0, 1.0, 1.0), (2, 1, 0)),
        ((1.0, 1.0, 0.9995), (2, 1, 0)),
        ((2.0, 2.0, 1.0), (1, 2, 0)),
    ],
)
def test_slices_lie_along_the_widest_spacing(spacing, axes):
    assert slices_first(spacing) == axes


def test_rows_come_before_columns():
    assert [slices_along(axis) for axis in range(3)] == [(0, 2, 1), (1, 2, 0), (2, 1, 0)]
