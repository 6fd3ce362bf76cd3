# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The slice axis of an image that does not specify it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = ["slices_along", "slices_first"]


def slices_first(spacing: Sequence[float]) -> tuple[int, int, int]:
    """Return the voxel axes (0, 1 or 2) that are slices, rows and columns.

    Slices are along the axis with the largest spacing; if several are equal (to one part in a thousand), along the
    last of them, which is the slice axis of most files.

    Parameters
    ----------
    spacing : sequence of 3 floats
        Of each voxel axis, the fastest one in the file first.
    """
    widest = np.asarray(spacing) >= max(spacing) * 0.999
    return slices_along(int(np.flatnonzero(widest)[-1]))


def slices_along(d: int) -> tuple[int, int, int]:
    """Return the voxel axes that are slices, rows and columns, where axis `d` (0, 1 or 2) counts the slices."""
    # Rows before columns: the first voxel axis is the fastest one in the file.
    h, w = (axis for axis in (2, 1, 0) if axis != d)
    return d, h, w
