# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from nsn2n.training.crops import gathered


@pytest.mark.parametrize("flipped", [(False, False), (True, False), (False, True), (True, True)])
def test_crops_are_those_of_slicing(flipped):
    volume = torch.arange(5 * 9 * 11).reshape(5, 9, 11)
    slices, corners = torch.tensor([[0, 3, 4], [2, 2, 1]]), torch.tensor([[0, 7], [5, 2]])
    found = gathered(volume, slices, corners, (3, 4), torch.tensor(flipped))
    axes = [axis for axis, flip in zip((-2, -1), flipped, strict=True) if flip]
    for index, (row, column) in enumerate(corners.tolist()):
        expected = volume[slices[index], row : row + 3, column : column + 4].flip(axes)
        assert torch.equal(found[index], expected)


def test_masks_have_crops_too():
    mask = torch.zeros(2, 4, 4, dtype=torch.bool)
    mask[1, 2, 3] = True
    found = gathered(mask, torch.tensor([[1]]), torch.tensor([[2, 2]]), (2, 2), torch.tensor([False, False]))
    assert found.tolist() == [[[[False, True], [False, False]]]]
