# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""MR volumes that are no magnitudes are known by their negative values, and magnitudes are not taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.errors import DicomError

DEPTH, SIZE = 4, 12
SIGNED = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15}


def magnitude(seed=1):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(80, 30, (DEPTH, SIZE, SIZE)) + 1j * rng.normal(0, 30, (DEPTH, SIZE, SIZE)))


def field_map_hz():
    """A slope over the head, and any value outside."""
    rng = np.random.default_rng(2)
    rows, columns = np.indices((SIZE, SIZE))
    inside = np.hypot(rows - 6, columns - 6) < 4
    return np.where(inside, 9.0 * (columns - 5), rng.uniform(-180, 180, (DEPTH, SIZE, SIZE)))


def two_volumes(make_series, first_dhw, second_dhw, **overrides):
    """A series of two volumes that only InstanceNumber tells apart."""
    placed = {"ImagePositionPatient": lambda index: [0, 0, 2 * (index % DEPTH)], **overrides}
    return make_series(np.concatenate([first_dhw, second_dhw]), modality="MR", overrides=placed)


def refusal_of(files):
    with pytest.raises(DicomError) as caught:
        read_series(files)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("PixelData (7FE0,0010) must hold magnitudes in an MR series, 0 or more; in part ")
    assert "series 2.25." in message
    return message


@pytest.mark.parametrize("first", [True, False])
def test_a_field_map_beside_its_magnitude_is_refused(make_series, first):
    pair = (field_map_hz(), magnitude()) if first else (magnitude(), field_map_hz())
    files = two_volumes(make_series, *pair, **SIGNED)
    message = refusal_of(files)
    assert f"in part {1 if first else 2} of 2 (slices {'1 to 4' if first else '5 to 8'}) 4" in message
    assert "% of the values are negative, down to -1" in message
    assert "1 other parts have none" in message
    assert any(file.name in message for file in (files[:DEPTH] if first else files[DEPTH:]))


def test_a_field_map_alone_is_refused(make_series):
    assert "part 1 of 1 (slices 1 to 4)" in refusal_of(make_series(field_map_hz(), modality="MR", overrides=SIGNED))


def test_unsigned_values_around_zero_are_signed_ones(make_series):
    rescaled = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": "0.2", "RescaleIntercept": "-409.6"}
    message = refusal_of(make_series(field_map_hz(), modality="MR", overrides=rescaled))
    assert "down to -1" in message


def test_parts_of_different_kinds_are_refused_whatever_their_coding(make_series):
    """An offset of one volume alone is no offset of magnitudes."""
    rescaled = {"RescaleSlope": "1", "RescaleIntercept": lambda index: "-60" if index < DEPTH else "0"}
    message = refusal_of(two_volumes(make_series, magnitude() - 60, magnitude(3), **rescaled))
    assert "part 1 of 2" in message


def test_a_magnitude_with_an_offset_is_taken(make_series):
    """Its background lies below 0, as in CT; nothing says that the values are signed."""
    rescaled = {"BitsStored": 12, "HighBit": 11, "RescaleSlope": "1", "RescaleIntercept": "-1024"}
    shifted = np.rint(magnitude()) - 1024
    series = read_series(make_series(shifted, modality="MR", overrides=rescaled))
    np.testing.assert_array_equal(series.stack.values, shifted)


def test_some_values_that_interpolation_left_below_zero_are_taken(make_series):
    volume = np.rint(np.random.default_rng(4).uniform(10, 900, (DEPTH, 40, 40)))
    volume[1, 3, 3:8] = -3
    series = read_series(make_series(volume, modality="MR", overrides=SIGNED))
    assert (series.stack.values < 0).sum() == 5


def test_padding_is_no_negative_value(make_series):
    volume = np.rint(magnitude())
    volume[:, :4] = -2000
    series = read_series(make_series(volume, modality="MR", overrides={**SIGNED, "PixelPaddingValue": -2000}))
    assert (~series.stack.mask).sum() == DEPTH * 4 * SIZE


@pytest.mark.parametrize("modality", ["CT", "PT"])
def test_other_modalities_have_negative_values(make_series, modality):
    series = read_series(make_series(field_map_hz(), modality=modality))
    assert series.stack.values.min() < -100
