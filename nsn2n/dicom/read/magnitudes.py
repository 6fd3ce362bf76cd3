# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Finds volumes of an MR series that are not magnitudes although no attribute says so: they hold negative values.

A scanner may store a field map in Hz and its magnitude in one series, with the same attributes. Denoised as a
magnitude, its phase wraps would be smoothed, and a Rician bias subtracted that it does not have.

Not every negative value indicates that. A magnitude may have a negative RescaleIntercept, so that its background is
below 0, and interpolation leaves a few values below 0 at edges. So negative values count if they are many, and if

- the stored value is negative itself, or
- the range that BitsStored can hold is centered on 0, -500 to 500 for example, as only signed quantities need it, or
- another part of the series has none, so that the parts are of different kinds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nsn2n.dicom.attributes import refusal, text
from nsn2n.dicom.image_kinds import is_own_output
from nsn2n.dicom.pixels.pixel_format import PixelFormat
from nsn2n.dicom.slice_facts import SliceFacts
from nsn2n.modality import policy_of

__all__ = ["Negatives", "check_magnitudes", "negatives_of"]

NEGATIVE_FRACTION = 1e-3
"""A part with fewer negative values is a magnitude: half of a field map is negative, and less than this of any image
with overshoots of interpolation."""

SYMMETRY = 0.01
"""The ends of a range around 0 add up to less than this fraction of it; -4096 to 4094 is one."""


@dataclass(frozen=True, slots=True)
class Negatives:
    """The negative values of one slice."""

    count: int
    """Values below 0, without padding."""
    signed: int
    """Those whose coding shows that they are meant to be negative."""
    lowest: float
    """The lowest value; 0 if none is negative."""


def negatives_of(values_hw: NDArray[np.float32], valid_hw: NDArray[np.bool_], pixels: PixelFormat) -> Negatives:
    """Count the negative values of a slice.

    Parameters
    ----------
    values_hw : array, shape (H, W)
        In the unit of the modality.
    valid_hw : array, shape (H, W), bool
        False where a pixel is padding.
    pixels : PixelFormat
        How the slice is coded.
    """
    below = valid_hw & (values_hw < 0)
    count = int(np.count_nonzero(below))
    if not count:
        return Negatives(0, 0, 0.0)
    found = values_hw[below]
    first, last = (stored * pixels.slope + pixels.intercept for stored in pixels.stored_range)
    around_zero = not pixels.signed and abs(first + last) < SYMMETRY * abs(last - first)
    stored = (found - pixels.intercept) / pixels.slope
    # Half a step from 0, since the values were rounded to float32.
    signed = count if around_zero else int(np.count_nonzero(stored < -0.5))
    return Negatives(count, signed, float(found.min()))


def check_magnitudes(slices: Sequence[SliceFacts], parts: Sequence[int], negatives: Sequence[Negatives]) -> None:
    """Refuse a series of magnitudes with a part that holds negative values.

    Parameters
    ----------
    slices : sequence of SliceFacts
        In the order of the volume.
    parts : sequence of int
        Slices of each part.
    negatives : sequence of Negatives
        Those of each slice.

    Raises
    ------
    DicomError
        Naming the part, and the file with the most negative values.
    """
    first = slices[0].header
    # Output of this program was checked when its source was read.
    if not policy_of(text(first, "Modality")).rician_mean or is_own_output(first):
        return
    ends = np.cumsum(parts)
    of_parts = [range(end - count, end) for end, count in zip(ends, parts, strict=True)]
    many = [_fraction(slices, negatives, place) > NEGATIVE_FRACTION for place in of_parts]
    mixed = any(many) and not all(many)
    for number, place in enumerate(of_parts):
        signed = sum(negatives[index].signed for index in place)
        if not many[number] or not (signed or mixed):
            continue
        worst = slices[max(place, key=lambda index: negatives[index].count)]
        others = f", {many.count(False)} other parts have none" if mixed else ""
        raise refusal(
            f"must hold magnitudes in an MR series, 0 or more; in part {number + 1} of {len(parts)} (slices"
            f" {place.start + 1} to {place.stop}) {100 * _fraction(slices, negatives, place):.2g} % of the values are"
            f" negative, down to {min(negatives[index].lowest for index in place):.5g}{others}",
            "It may be a field map, a phase or a real image; export the magnitudes as a separate series.",
            keyword="PixelData",
            path=worst.label,
            header=worst.header,
        )


def _fraction(slices: Sequence[SliceFacts], negatives: Sequence[Negatives], place: range) -> float:
    height, width = slices[place.start].pixels.shape_hw
    return sum(negatives[index].count for index in place) / (len(place) * height * width)
