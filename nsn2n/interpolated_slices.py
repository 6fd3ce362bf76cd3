# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Slices that were interpolated by zero filling: what is denoised instead of them, and what follows for them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from nsn2n._aliases import BoolArray, Float32Array
from nsn2n.arrays.either import divided, double, total
from nsn2n.result import DenoiseResult
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.runtime.volumes import new_volume
from nsn2n.stack.acquired_grid import AcquiredGrid, acquired_grid
from nsn2n.stack.validation import fill_invalid
from nsn2n.structure_check import moved_to_stored

__all__ = ["InterpolatedSlices", "interpolated_slices"]


@dataclass(frozen=True, slots=True)
class InterpolatedSlices:
    """Slices as stored, shape (D, H, W), and on the grid on which they were acquired, shape (D, h, w)."""

    grid: AcquiredGrid
    stored: Float32Array
    stored_mask: BoolArray | None
    """Voxels that hold a measurement; None: all. Here the others have values of those around them."""
    acquired: Float32Array
    acquired_mask: BoolArray | None

    def result(self, of_acquired: DenoiseResult, values: Float32Array) -> DenoiseResult:
        """Return the result of the stored slices from that of the acquired ones.

        Parameters
        ----------
        of_acquired : DenoiseResult
        values : ndarray, shape (D, H, W), float32
            As given to :func:`interpolated_slices`: what holds no measurement is returned bit for bit.
        """
        grid, settings = self.grid, of_acquired.settings
        strength, most = settings.strength, settings.largest_change_sd
        volume, noise_sd = (new_volume(values.shape, np.float32) for _ in range(2))
        lowest = self.stored.min()

        def complete(index: int) -> tuple[float, int]:
            """Make one slice; return the sum of the squares of its change, and its valid voxels."""
            noise_sd[index] = grid.repeated(of_acquired.noise_sd[index])
            stored, source = self.stored[index], grid.interpolated(self.acquired[index])
            removed = source - grid.interpolated(of_acquired.volume[index])
            # What was not acquired stays. In magnitudes it is noise where that exceeds the signal.
            signal = np.square(source - removed / strength) if strength else np.square(source)
            noise = np.square(noise_sd[index])
            removed += strength * divided(noise, signal + noise) * (stored - source)
            if most is not None:  # between acquired pixels that change so much it would be more
                bound = strength * most * noise_sd[index]
                np.clip(removed, -bound, bound, out=removed)
            np.maximum(stored - removed, lowest, out=volume[index])
            change = double(volume[index] - stored)
            if self.stored_mask is not None:
                invalid = ~self.stored_mask[index]
                volume[index][invalid] = values[index][invalid]
                change = change[~invalid]
            return total(change * change), change.size

        squares, voxels = np.sum(for_each_slice(complete, range(len(volume))), axis=0)
        rows, columns = grid.acquired_hw
        return replace(
            of_acquired,
            volume=volume,
            noise_sd=noise_sd,
            structure=moved_to_stored(of_acquired.structure, grid),
            contrast=of_acquired.contrast and of_acquired.contrast.moved_to_stored(grid),
            measured=replace(
                of_acquired.measured,
                acquired_rows=rows,
                acquired_columns=columns,
                rms_change=math.sqrt(squares / voxels) if voxels else 0.0,
            ),
        )


def interpolated_slices(values: Float32Array, mask: BoolArray | None) -> InterpolatedSlices | None:
    """Return slices with those on their acquired grid; None if they do not seem to be interpolated.

    Parameters
    ----------
    values : ndarray, shape (D, H, W), float32
        D >= 2; finite where they hold a measurement.
    mask : ndarray, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    """
    if mask is not None and mask.all():
        mask = None
    grid = acquired_grid(values, mask)
    if grid is None:
        return None
    stored = values if mask is None else fill_invalid(values, mask)
    acquired = grid.acquired(stored)
    np.maximum(acquired, stored.min(), out=acquired)  # magnitudes next to an edge would get negative
    return InterpolatedSlices(grid, stored, mask, acquired, None if mask is None else grid.sampled(mask))
