# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which slices stand for all, where a figure of the whole volume is measured on some."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly_spread"]


def evenly_spread(count: int, most: int) -> list[int]:
    """Return at most that many indices of 0 to ``count - 1``, from the first to the last, evenly spread."""
    return [int(index) for index in np.linspace(0, count - 1, min(count, most))]
