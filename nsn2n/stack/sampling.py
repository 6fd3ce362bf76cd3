# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Sample slices for measurements that represent the whole volume."""

from __future__ import annotations

import numpy as np

__all__ = ["evenly_spread"]


def evenly_spread(count: int, most: int) -> list[int]:
    """Return at most that many indices of 0 to ``count - 1``, from the first to the last, evenly spread."""
    return [int(index) for index in np.linspace(0, count - 1, min(count, most))]
