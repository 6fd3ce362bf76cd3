# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.files.stored_numbers import StoredNumbers

PATH = Path("a.file")


def test_values_are_scaled_and_numbers_that_stand_for_others_rounded():
    stored = np.arange(24, dtype=np.int16).reshape(4, 3, 2)
    numbers = StoredNumbers(stored, (2, 1, 0), slope=0.5, inter=-3.0)

    stack = numbers.stack(PATH, (3.0, 1.0, 1.0))
    np.testing.assert_array_equal(stack.values, stored.transpose(2, 1, 0) * 0.5 - 3)
    np.testing.assert_array_equal(numbers.replaced(stack.values + np.float32(0.7), PATH), stored + 1)
    np.testing.assert_array_equal(numbers.replaced(stack.values, PATH), stored)


def test_maps_take_the_axes_of_the_file():
    numbers = StoredNumbers(np.zeros((4, 3, 2, 5), np.int16), (0, 2, 1), slope=2.0)
    values = np.random.default_rng(0).normal(size=(20, 2, 3)).astype(np.float32)

    placed = numbers.placed(values)

    assert placed.shape == (4, 3, 2, 5)
    np.testing.assert_array_equal(placed[..., 1].transpose(0, 2, 1), values[4:8])


def test_values_of_another_shape_are_refused():
    with pytest.raises(VolumeError, match="must have the shape of the one that was read"):
        StoredNumbers(np.zeros((4, 3, 2)), (2, 1, 0)).replaced(np.zeros((4, 3, 2), np.float32), PATH)
