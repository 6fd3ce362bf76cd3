# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Overlapping estimates become one: at each pixel the mean of those of all blocks, by their weights.

On a GPU many threads add to one pixel, in any order, which for floating-point numbers changes the sum. Integers have
the same sum in any order. So there what is added is the difference from a reference, as a multiple of a small unit.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["Aggregate"]

_LARGEST = 1e5
"""Differences from the reference beyond this many noise sd count as this much; a filter changes voxels by a few."""
_UNITS, _UNITS_OF_WEIGHTS = 2.0**26, 2.0**34
"""In 1, of sums of weighted differences, and of sums of weights. The largest difference under the largest weight, 1e3,
in a thousand blocks is still held by 64 bits."""


class Aggregate:
    """Sums of weighted estimates, and of their weights, of pixels in one row.

    Parameters
    ----------
    pixels : int
    device : torch.device, optional
        The CPU by default.
    exact : bool, optional
        Whether to add integers; by default on a GPU.
    """

    def __init__(self, pixels: int, device: torch.device | None, *, exact: bool | None = None) -> None:
        self._exact = (device is not None and device.type == "cuda") if exact is None else exact
        dtype = torch.int64 if self._exact else torch.float32
        self._total, self._weight = (torch.zeros(pixels, dtype=dtype, device=device) for _ in range(2))

    def add(self, pixels: Tensor, values: Tensor, weights: Tensor, reference: Tensor) -> None:
        """Add estimates.

        Parameters
        ----------
        pixels, values, weights : Tensor, one shape
            Where the estimates are, these, and how much they count, at most 1e3 each. Pixels may occur more than once.
        reference : Tensor, shape (n,)
            A value of each of all pixels that is near its estimates, the same as for :meth:`mean`.
        """
        if not self._exact:
            self._total.index_add_(0, pixels.ravel(), (values * weights).ravel())
            self._weight.index_add_(0, pixels.ravel(), weights.expand_as(values).ravel())
            return
        differences = (values - reference[pixels]).clip(-_LARGEST, _LARGEST)
        mode = torch.get_deterministic_debug_mode()
        torch.set_deterministic_debug_mode("default")  # it would sort the pixels, which only other numbers need
        try:
            self._total.index_add_(0, pixels.ravel(), (differences * weights * _UNITS).round().long().ravel())
            of_weights = (weights * _UNITS_OF_WEIGHTS).round().long()
            self._weight.index_add_(0, pixels.ravel(), of_weights.expand_as(values).ravel())
        finally:
            torch.set_deterministic_debug_mode(mode)

    def include(self, other: Aggregate, places: Sequence[slice]) -> None:
        """Add the sums of another one, whose pixels are those at these places, one place after the other."""
        start = 0
        for place in places:
            part = slice(start, start + place.stop - place.start)
            self._total[place] += other._total[part]
            self._weight[place] += other._weight[part]
            start = part.stop

    def mean(self, part: slice, reference: Tensor) -> Tensor:
        """Return the mean at some pixels, shape (n,), and their reference where nothing was added."""
        total, weight = self._total[part], self._weight[part]
        if not self._exact:
            return torch.where(weight > 0, total / weight, reference)
        difference = total.double() / weight.clip(min=1) * (_UNITS_OF_WEIGHTS / _UNITS)
        return (reference + difference).float()

    def clear(self, part: slice) -> None:
        """Forget what was added at some pixels."""
        self._total[part] = 0
        self._weight[part] = 0

    def extend(self, pixels: int) -> None:
        """Append pixels."""
        nothing = self._total.new_zeros(pixels)
        self._total, self._weight = (torch.cat([sums, nothing]) for sums in (self._total, self._weight))

    def drop(self, pixels: int) -> None:
        """Remove the first pixels."""
        self._total, self._weight = (sums[pixels:].clone() for sums in (self._total, self._weight))
