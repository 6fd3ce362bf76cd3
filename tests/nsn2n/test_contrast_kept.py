# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What is kept, over the parts of a volume and in a record."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.contrast_kept import ContrastKept, KeptCell
from nsn2n.stack.acquired_grid import AcquiredGrid
from nsn2n.stack.background import Box
from nsn2n.stack.shear import layout_of

CELLS = (KeptCell(5.0, 1.0, 0.8, 4, True), KeptCell(10.0, 1.0, 0.9, 2, True))


def _kept(cells=CELLS, index=2, map_hw=None):
    return ContrastKept(cells, ((index, np.full((3, 4), 0.5, np.float32) if map_hw is None else map_hw),))


def test_what_is_blended_in_is_kept():
    blended = _kept().blended(0.5)

    assert [cell.kept for cell in blended.cells] == pytest.approx([0.9, 0.95])
    assert blended.maps[0][1] == pytest.approx(0.75)


def test_discs_of_two_sizes_judge():
    other = KeptCell(3.0, 1.0, 0.1, 9, False)

    assert _kept((*CELLS, other)).lost == pytest.approx(0.15)
    assert _kept((other,)).lost is None
    assert _kept((replace(CELLS[0], discs=3),)).lost is None


def test_of_parts_the_least_is_said_and_each_map():
    other = _kept((KeptCell(5.0, 1.0, 0.6, 1, True),), index=1)

    joined = ContrastKept.joined([(0, _kept()), (10, None), (20, other)])

    assert joined.cells == (KeptCell(5.0, 1.0, 0.6, 5, True), KeptCell(10.0, 1.0, 0.9, 2, True))
    assert [index for index, _ in joined.maps] == [2, 21]
    assert ContrastKept.joined([(0, None)]) is None


def test_a_box_a_sheared_stack_and_an_acquired_grid_are_said_of_the_slices():
    ((index, whole_hw),) = _kept().moved_to_volume(Box((2, 1, 3), (6, 4, 7), (6, 8, 9))).maps
    assert index == 4
    assert np.argwhere(np.isfinite(whole_hw)).tolist() == [[row, column] for row in (1, 2, 3) for column in range(3, 7)]

    layout = layout_of((5, 6, 8), (1.0, 0.0))
    canvas_hw = np.arange(layout.shape_dhw[1] * 8, dtype=np.float32).reshape(-1, 8)
    ((index, slice_hw),) = _kept(map_hw=canvas_hw).moved_to_slices(layout).maps
    assert index == 2
    top, left = layout.offset(2)
    assert np.array_equal(slice_hw, canvas_hw[top : top + 6, left : left + 8])

    grid = AcquiredGrid((3, 4), (6, 8))
    ((index, stored_hw),) = _kept(map_hw=canvas_hw[:3, :4]).moved_to_stored(grid).maps
    assert index == 2
    assert np.array_equal(stored_hw[::2, ::2], canvas_hw[:3, :4])


def test_the_record_holds_means_of_squares():
    map_hw = np.full((20, 40), np.nan, np.float32)
    map_hw[:16, :16], map_hw[:16, 16:24] = 0.5, 0.25

    record = _kept(map_hw=map_hw).record

    assert record["discs"][0] == {"diameter_mm": 5.0, "contrast_sd": 1.0, "kept": 0.8, "discs": 4, "visible": True}
    assert record["maps"] == [{"slice": 2, "block_px": 16, "kept": [[0.5, 0.25, None], [None, None, None]]}]
