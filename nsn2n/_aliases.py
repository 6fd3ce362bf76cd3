# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Types that many modules share. Arrays of a volume have the axes (D, H, W): slices, rows, columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Array", "BoolArray", "Float32Array", "Progress", "Shear", "Spacing", "StageProgress"]

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

Array = Any
"""A NumPy array, or a PyTorch tensor where the volume of a run is in the memory of a GPU (:mod:`nsn2n.arrays`). No type
covers what both can do."""

Spacing = tuple[float, float, float]
"""Distances in mm between slices, rows and columns."""

Shear = tuple[float, float]
"""(rows, columns) in pixels by which each slice lies displaced in its plane against the one before."""

Progress = Callable[[float, float], None]
"""Takes the fraction done, 0 to 1, and the seconds left."""

StageProgress = Callable[[float], None]
"""Takes the fraction done of one stage, 0 to 1."""
