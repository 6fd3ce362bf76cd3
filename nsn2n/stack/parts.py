# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Parts of a volume that are no neighbors of each other, each denoised apart.

Parts are what lies between gaps, runs of another slice spacing, or the time points of a series. Nothing of one part
teaches another: the last slice of one and the first of the next are no pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from nsn2n.errors import VolumeError

__all__ = ["checked_parts", "for_each_part", "places_of"]


def checked_parts(parts: Sequence[int] | None, depth: int) -> tuple[int, ...]:
    """Return the slices of each part of a volume; without any there is one part.

    Raises
    ------
    VolumeError
        If they are not whole numbers of 1 or more that sum up to the depth, or no part has two slices.
    """
    if parts is None:
        return (depth,)
    counts = tuple(parts)
    whole = all(hasattr(count, "__index__") and int(count) >= 1 for count in counts)
    if not whole or sum(counts) != depth:
        raise VolumeError(
            f"parts must be the slices of each part, integers of at least 1 that sum to the {depth} slices of "
            f"the volume; got {counts[:8]!r}{' ...' if len(counts) > 8 else ''}."
        )
    if len(counts) > 1 and max(counts) < 2:
        raise VolumeError(
            f"at least one part must have 2 slices, since the method trains on neighbors; got {len(counts)} parts of "
            "one."
        )
    return tuple(int(count) for count in counts)


def for_each_part(name: str, value: Sequence[Any] | None, length: int, count: int) -> tuple[Any, ...]:
    """Return an argument for each part: those given, or the given one for all.

    Parameters
    ----------
    name : str
        Name of the argument, for messages.
    value : sequence of ``length`` numbers, or a sequence of those, or None
    length : int
    count : int
        Of the parts.

    Raises
    ------
    VolumeError
        If there are several, but not one for each part.
    """
    if value is None or not any(isinstance(entry, (tuple, list)) for entry in value):
        return (value,) * count
    if len(value) != count:
        raise VolumeError(
            f"{name} must be {length} numbers, or one such tuple for each of {count} parts; got {len(value)} of them."
        )
    return tuple(value)


def places_of(parts: Sequence[int]) -> Iterator[slice]:
    """Return the slices of the volume in each part, in order."""
    start = 0
    for count in parts:
        yield slice(start, start + count)
        start += count
