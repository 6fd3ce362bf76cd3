# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Contrast retention of faint discs (:mod:`nsn2n.probes`), over the parts of a volume and for its record.

The sizes and contrasts are those at which readers of low-contrast phantoms start to miss discs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nsn2n._aliases import Float32Array
from nsn2n.stack.acquired_grid import AcquiredGrid
from nsn2n.stack.background import Box
from nsn2n.stack.shear import Layout

__all__ = ["BLOCK_PX", "CONTRASTS_SD", "DIAMETERS_MM", "ContrastKept", "KeptCell"]

DIAMETERS_MM = (3.0, 5.0, 10.0)
CONTRASTS_SD = (0.5, 1.0, 2.0)
BLOCK_PX = 16
"""Edge of the squares whose means represent a map in the record; the map is smooth."""
_FEWEST_JUDGED = 4


@dataclass(frozen=True, slots=True)
class KeptCell:
    """Contrast retention of discs of one size and contrast."""

    diameter_mm: float
    contrast_sd: float
    """In noise sd of the source."""
    kept: float
    """Mean contrast after denoising relative to that before: 1 if all is retained, 0 if none is."""
    discs: int
    """How many were measured."""
    visible: bool
    """Such a disc is visible in the source, so that its loss counts."""


@dataclass(frozen=True, slots=True)
class ContrastKept:
    """Contrast retention of faint discs in a volume."""

    cells: tuple[KeptCell, ...]
    maps: tuple[tuple[int, Float32Array], ...]
    """For each part: the slice in which it was measured, and the retention of a disc of 5 mm and 1 noise sd at each
    pixel, shape (H, W), from the discs around it; NaN where there was none. Parts with few discs are omitted."""

    @property
    def lost(self) -> float | None:
        """Fraction of contrast lost by discs that are visible in the source; None if there was space for too few."""
        judged = [cell for cell in self.cells if cell.visible]
        if sum(cell.discs for cell in judged) < _FEWEST_JUDGED:
            return None
        return 1 - sum(cell.kept for cell in judged) / len(judged)

    @property
    def record(self) -> dict[str, Any]:
        """Plain values that JSON can hold; for each map the means of squares, None where there is no value."""
        return {
            "discs": [asdict(cell) for cell in self.cells],
            "maps": [
                {"slice": index, "block_px": BLOCK_PX, "kept": _block_means(map_hw)} for index, map_hw in self.maps
            ],
        }

    def blended(self, strength: float) -> ContrastKept:
        """Return the retention if only a fraction of the change is applied."""
        cells = [replace(cell, kept=1 - strength + strength * cell.kept) for cell in self.cells]
        maps = [(index, np.float32(1 - strength) + np.float32(strength) * map_hw) for index, map_hw in self.maps]
        return ContrastKept(tuple(cells), tuple(maps))

    def moved_to_slices(self, layout: Layout) -> ContrastKept:
        """Return what was measured on the canvases of a sheared stack, in coordinates of its slices."""
        maps = []
        for index, map_hw in self.maps:
            canvases = np.broadcast_to(map_hw, layout.shape_dhw)
            maps.append((index, layout.gather(canvases)[index]))
        return replace(self, maps=tuple(maps))

    def moved_to_volume(self, box: Box) -> ContrastKept:
        """Return what was measured in a box of a volume, in coordinates of the volume."""
        maps = []
        for index, map_hw in self.maps:
            whole_hw = np.full(box.shape_dhw[1:], np.nan, np.float32)
            whole_hw[box.place[1:]] = map_hw
            maps.append((index + int(box.start_zyx[0]), whole_hw))
        return replace(self, maps=tuple(maps))

    def moved_to_stored(self, grid: AcquiredGrid) -> ContrastKept:
        """Return what was measured on the acquired grid of slices, in coordinates of the stored slices."""
        return replace(self, maps=tuple((index, grid.repeated(map_hw)) for index, map_hw in self.maps))

    @staticmethod
    def joined(of_parts: Sequence[tuple[int, ContrastKept | None]]) -> ContrastKept | None:
        """Return the retention over all parts of a volume: the smallest of each cell, and all maps.

        Parameters
        ----------
        of_parts : sequence of (int, ContrastKept or None)
            The first slice of each part in the volume, and what was measured there.
        """
        known = [(start, kept) for start, kept in of_parts if kept is not None]
        if not known:
            return None
        found: dict[tuple[float, float], list[KeptCell]] = {}
        for cell in (cell for _, kept in known for cell in kept.cells):
            found.setdefault((cell.diameter_mm, cell.contrast_sd), []).append(cell)
        cells = [
            replace(min(same, key=lambda cell: cell.kept), discs=sum(cell.discs for cell in same))
            for same in found.values()
        ]
        maps = [(start + index, map_hw) for start, kept in known for index, map_hw in kept.maps]
        return ContrastKept(tuple(cells), tuple(maps))


def _block_means(map_hw: Float32Array) -> list[list[float | None]]:
    """Return means over squares of the pixels that have a value; None where none has."""
    height, width = map_hw.shape
    padding = ((0, -height % BLOCK_PX), (0, -width % BLOCK_PX))
    squares = np.pad(map_hw, padding, constant_values=np.nan).reshape(-1, BLOCK_PX, -(-width // BLOCK_PX), BLOCK_PX)
    known = np.isfinite(squares)
    counts, sums = known.sum(axis=(1, 3)), np.where(known, squares, 0).sum(axis=(1, 3))
    return [
        [round(float(total / count), 3) if count else None for total, count in zip(*row, strict=True)]
        for row in zip(sums, counts, strict=True)
    ]
