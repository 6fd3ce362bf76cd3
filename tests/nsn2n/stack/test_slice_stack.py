# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One value for a volume: checked once, and then it stays."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from nsn2n.errors import VolumeError
from nsn2n.modality import Modality
from nsn2n.stack.slice_stack import SliceStack

VALUES = np.arange(7 * 4 * 5, dtype=np.float32).reshape(7, 4, 5)


def test_what_is_absent_is_one_part_of_unknown_spacing():
    stack = SliceStack(values=VALUES)

    assert stack.shape_dhw == (7, 4, 5)
    assert (stack.parts, stack.spacings_mm, stack.shears_px) == ((7,), (None,), ((0.0, 0.0),))
    assert stack.mask is stack.modality is stack.pixel_spacing_mm is None
    assert np.shares_memory(stack.values, VALUES)
    with pytest.raises(FrozenInstanceError, match="values"):
        stack.values = VALUES


def test_an_array_and_what_is_said_of_it_become_a_stack():
    exclude = np.zeros(VALUES.shape, bool)
    exclude[:, 0] = True

    stack = SliceStack.of(
        VALUES.astype(int).tolist(), spacing_mm=(2.0, 0.5, 0.7), modality="MR", exclude=exclude, parts=(3, 4),
        shear_px=[(1.0, 0.0), (0.0, 0.0)],
    )  # fmt: skip

    np.testing.assert_array_equal(stack.values, VALUES)
    np.testing.assert_array_equal(stack.mask, ~exclude)
    assert stack.modality is Modality.MR
    assert stack.parts == (3, 4)
    assert stack.spacings_mm == ((2.0, 0.5, 0.7),) * 2
    assert stack.pixel_spacing_mm == (0.5, 0.7)
    assert stack.shears_px == ((1.0, 0.0), (0.0, 0.0))
    assert stack.places == (slice(0, 3), slice(3, 7))


def test_what_is_not_finite_is_no_measurement():
    values = VALUES.copy()
    values[1, 2, 3] = np.nan

    stack = SliceStack(values=values, mask=np.ones(values.shape, bool))

    assert np.argwhere(~stack.mask).tolist() == [[1, 2, 3]]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"spacing_mm": (1.0, 0.0, 1.0)}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": (1.0, 1.0)}, "spacing_mm must be three positive numbers"),
        ({"spacing_mm": [(1.0, 1.0, 1.0)] * 3, "parts": (3, 4)}, "for each of 2 parts; got 3"),
        ({"modality": "US"}, "modality must be CT, MR, PT or None; got 'US'"),
        ({"exclude": np.zeros((7, 4), bool)}, r"exclude must have the volume's shape \(7, 4, 5\); got \(7, 4\)"),
        ({"parts": (3, 3)}, "sum to the 7 slices"),
    ],
)
def test_what_does_not_fit_the_values_is_refused(said, message):
    with pytest.raises(VolumeError, match=message):
        SliceStack.of(VALUES, **said)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mask": np.ones((7, 4), bool)}, "mask must have the volume's shape"),
        ({"parts": (3, 4), "spacings_mm": (None,)}, "spacings_mm must be one for each of 2 parts"),
        ({"parts": (3, 4), "shears_px": ((0.0, 0.0),)}, "shears_px must be one for each of 2 parts"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused(fields, message):
    with pytest.raises(VolumeError, match=message):
        SliceStack(values=VALUES, **fields)


def test_parts_are_stacks_of_their_own():
    mask = np.ones(VALUES.shape, bool)
    mask[4, 0, 0] = False
    stack = SliceStack.of(
        VALUES, exclude=~mask, parts=(3, 1, 3), spacing_mm=[(1.0, 2.0, 3.0), (9.0, 2.0, 3.0), (4.0, 2.0, 3.0)],
        shear_px=[(0.0, 0.0), (0.0, 0.0), (1.5, 0.0)], modality="CT",
    )  # fmt: skip

    first, alone, last = stack.split()

    assert alone is None
    assert first.mask is None
    np.testing.assert_array_equal(first.values, VALUES[:3])
    np.testing.assert_array_equal(last.values, VALUES[4:])
    assert np.argwhere(~last.mask).tolist() == [[0, 0, 0]]
    assert (last.spacings_mm, last.shears_px, last.modality) == (((4.0, 2.0, 3.0),), ((1.5, 0.0),), Modality.CT)


def test_a_stack_of_one_part_is_its_part():
    stack = SliceStack(values=VALUES)

    assert list(stack.split()) == [stack]


def test_other_values_on_the_same_grid():
    exclude = np.zeros(VALUES.shape, bool)
    exclude[:, 0] = True
    stack = SliceStack.of(VALUES, exclude=exclude, parts=(3, 4), modality="CT")

    other = stack.with_values(VALUES.astype(np.int16) + 1)

    np.testing.assert_array_equal(other.values, VALUES + 1)
    np.testing.assert_array_equal(other.mask, stack.mask)
    assert (other.parts, other.modality) == (stack.parts, stack.modality)
    with pytest.raises(VolumeError, match=r"shape of the stack that they replace, \(7, 4, 5\); got \(6, 4, 5\)"):
        stack.with_values(VALUES[1:])
