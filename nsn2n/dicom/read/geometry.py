# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Positions of the voxels of a series in the patient, and the regular grids that its slices form.

Coordinates are those of the patient (LPS, mm: x to the left, y to the back, z to the head).
`row_direction` is the direction along a row, in which the column index grows; `column_direction` is that
along a column. They are the first and second triple of ImageOrientationPatient. PixelSpacing holds the
distance between rows first, then that between columns (PS3.3 10.7.1.3).
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nsn2n.dicom.read.even_spacing import MOST_RUNS, PAIR_LIMIT, is_even, split_runs, tolerance_mm

__all__ = ["Arrangement", "SeriesGeometry", "Verdict", "VolumeGeometry", "arrange_slices"]

ORIENTATION_TOLERANCE = 1e-4
"""How far the direction cosines of two slices of one volume may differ (about 0.006 degrees)."""

UNIT_TOLERANCE = 1e-3
"""How far cosines may be from unit length and right angle: rounding to three decimals causes up to this."""

SHEAR_TOLERANCE_DEGREES = 1.0
"""Angle between the normal of the slices and the line through them, above which the stack is sheared."""

SPACING_TOLERANCE = 1e-4
"""Relative difference of PixelSpacing allowed between slices."""

SAME_POSITION_MM = 1e-3
"""Slices closer than this along the normal are at one position."""

LONGEST_RUN_LEAST = 3
"""An uneven stack must have a run of at least this many slices: isolated pairs of slices are not a volume."""


class Verdict(enum.Enum):
    """What kind of stack a set of slices is."""

    REGULAR = "a regular grid"
    SHEARED = "sheared (gantry tilt): equal steps that are not along the normal of the slices"
    VARIABLE = "unevenly spaced"
    GAP = "evenly spaced except for missing slices"
    MULTI_VOLUME = "several slices at one position (several volumes in one series)"
    MIXED_ORIENTATION = "of more than one orientation"
    MIXED_SPACING = "of more than one PixelSpacing"
    BAD_ORIENTATION = "without valid directions: the cosines must be two perpendicular unit vectors"
    SINGLE_SLICE = "a single slice"


@dataclass(frozen=True)
class VolumeGeometry:
    """Position, direction and spacing of a (D, H, W) array in the patient (LPS, mm)."""

    shape_dhw: tuple[int, int, int]
    position_mm: tuple[float, float, float]
    """Center of voxel [0, 0, 0]."""
    row_direction: tuple[float, float, float]
    """Unit vector in which W (the column index) grows."""
    column_direction: tuple[float, float, float]
    """Unit vector in which H (the row index) grows."""
    slice_step_mm: tuple[float, float, float]
    """Vector from one slice to the next; D grows along it."""
    spacing_mm: tuple[float, float, float]
    """(dz, dy, dx): length of the slice step, distance between rows, distance between columns."""

    @property
    def tilt_degrees(self) -> float:
        """Angle between the normal of the slices and the line through them: the gantry tilt, if there is one."""
        normal = np.cross(self.row_direction, self.column_direction)
        cosine = float(normal @ self.slice_step_mm) / self.spacing_mm[0]
        return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))

    @property
    def shear_px(self) -> tuple[float, float]:
        """(rows, columns) by which each slice is displaced in its plane relative to the one before."""
        _, between_rows, between_columns = self.spacing_mm
        rows = float(np.dot(self.column_direction, self.slice_step_mm)) / between_rows
        columns = float(np.dot(self.row_direction, self.slice_step_mm)) / between_columns
        return (rows, columns)

    @property
    def is_sheared(self) -> bool:
        """Whether the line through the slices deviates from their normal by more than rounding."""
        return self.tilt_degrees > SHEAR_TOLERANCE_DEGREES

    @property
    def affine_lps(self) -> NDArray[np.float64]:
        """4x4 matrix from (column, row, slice) indices to LPS mm: the index order of ITK and NIfTI arrays.

        Source: PS3.3 C.7.6.2.1.1, with the slice step as third column.
        """
        affine = np.eye(4)
        affine[:3, 0] = np.asarray(self.row_direction) * self.spacing_mm[2]
        affine[:3, 1] = np.asarray(self.column_direction) * self.spacing_mm[1]
        affine[:3, 2] = self.slice_step_mm
        affine[:3, 3] = self.position_mm
        return affine

    @property
    def affine_ras(self) -> NDArray[np.float64]:
        """`affine_lps` in the convention of NIfTI, whose x and y point the other way."""
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ self.affine_lps


@dataclass(frozen=True)
class SeriesGeometry:
    """The grids of a series, in the order of its slices; most series have one."""

    parts: tuple[VolumeGeometry, ...]

    @property
    def shape_dhw(self) -> tuple[int, int, int]:
        """Shape of the array that holds all slices."""
        _, height, width = self.parts[0].shape_dhw
        return (sum(self.slice_counts), height, width)

    @property
    def slice_counts(self) -> tuple[int, ...]:
        """Slices of each part."""
        return tuple(part.shape_dhw[0] for part in self.parts)

    @property
    def spacings_mm(self) -> tuple[tuple[float, float, float], ...]:
        """(dz, dy, dx) of each part."""
        return tuple(part.spacing_mm for part in self.parts)

    @property
    def shears_px(self) -> tuple[tuple[float, float], ...]:
        """(rows, columns) by which the slices of each part are displaced; (0, 0) if it is only rounding."""
        return tuple(part.shear_px if part.is_sheared else (0.0, 0.0) for part in self.parts)


@dataclass(frozen=True)
class Arrangement:
    """The order of slices along their normal, and what kind of stack they form."""

    verdict: Verdict
    order: tuple[int, ...]
    """Indices of the given slices, sorted along the cross product of row and column direction."""
    geometry: SeriesGeometry | None
    """One part if REGULAR or SHEARED; one for each run of equal steps if VARIABLE or GAP, unless there is no run of
    `LONGEST_RUN_LEAST` slices; None otherwise. A part of one slice has the distance to its neighbor as step."""
    detail: str
    """The finding with numbers, for a message."""
    culprit: int | None = None
    """Index of the given slice at which the rule is first broken."""


def arrange_slices(
    positions_mm: Sequence[Sequence[float]],
    orientations: Sequence[Sequence[float]],
    pixel_spacings_mm: Sequence[Sequence[float]],
    shape_hw: tuple[int, int],
) -> Arrangement:
    """Sort slices and classify the grid that they form.

    Parameters
    ----------
    positions_mm : N times (x, y, z)
        ImagePositionPatient of each slice, in any order.
    orientations : N times six cosines
        ImageOrientationPatient.
    pixel_spacings_mm : N times (between rows, between columns)
        PixelSpacing.
    shape_hw : (rows, columns)

    Returns
    -------
    Arrangement
    """
    positions = np.asarray(positions_mm, dtype=np.float64)
    cosines = np.asarray(orientations, dtype=np.float64)
    spacings = np.asarray(pixel_spacings_mm, dtype=np.float64)
    unsorted = tuple(range(len(positions)))
    bad = _bad_directions(cosines) or _mixed(cosines, spacings)
    if bad:
        verdict, detail, culprit = bad
        return Arrangement(verdict, unsorted, None, detail, culprit)

    row, column = _orthonormal(cosines.mean(axis=0))
    normal = np.cross(row, column)
    along_mm = positions @ normal
    order = np.argsort(along_mm, kind="stable")
    sorted_order = tuple(int(index) for index in order)
    if len(positions) == 1:
        return Arrangement(Verdict.SINGLE_SLICE, sorted_order, None, "1 slice", 0)
    positions = positions[order]
    verdict, detail, place, runs = _judge_steps(positions, normal)
    geometry = None
    if runs:
        in_plane = VolumeGeometry(
            shape_dhw=(0, *shape_hw),
            position_mm=(0.0, 0.0, 0.0),
            row_direction=_triple(row),
            column_direction=_triple(column),
            slice_step_mm=(0.0, 0.0, 0.0),
            spacing_mm=(0.0, *_pair(spacings.mean(axis=0))),
        )
        geometry = SeriesGeometry(tuple(_placed(in_plane, positions, part, normal) for part in _parts(runs)))
    return Arrangement(verdict, sorted_order, geometry, detail, None if place is None else sorted_order[place])


def _parts(counts: tuple[int, ...]) -> list[slice]:
    ends = np.cumsum(counts)
    return [slice(int(end - count), int(end)) for count, end in zip(counts, ends, strict=True)]


def _placed(
    in_plane: VolumeGeometry, positions: NDArray[np.float64], part: slice, normal: NDArray[np.float64]
) -> VolumeGeometry:
    """The grid of the slices of one part."""
    own = positions[part]
    if len(own) > 1:
        step = (own[-1] - own[0]) / (len(own) - 1)
    else:
        along = positions @ normal
        others = np.delete(along, part.start)
        step = normal * np.abs(others - along[part.start]).min()
    return replace(
        in_plane,
        shape_dhw=(len(own), *in_plane.shape_dhw[1:]),
        position_mm=_triple(own[0]),
        slice_step_mm=_triple(step),
        spacing_mm=(float(np.linalg.norm(step)), *in_plane.spacing_mm[1:]),
    )


def _pair(vector: NDArray[np.float64]) -> tuple[float, float]:
    first, second = (float(value) for value in vector)
    return (first, second)


def _triple(vector: NDArray[np.float64]) -> tuple[float, float, float]:
    x, y, z = (float(value) for value in vector)
    return (x, y, z)


def _orthonormal(cosines: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Remove the rounding of written cosines: unit row, and unit column perpendicular to it."""
    row = cosines[:3] / np.linalg.norm(cosines[:3])
    column = cosines[3:] - row * (row @ cosines[3:])
    return row, column / np.linalg.norm(column)


def _bad_directions(cosines: NDArray[np.float64]) -> tuple[Verdict, str, int] | None:
    row, column = cosines[:, :3], cosines[:, 3:]
    error = np.maximum.reduce(
        [
            np.abs(np.linalg.norm(row, axis=1) - 1),
            np.abs(np.linalg.norm(column, axis=1) - 1),
            np.abs(np.sum(row * column, axis=1)),
        ]
    )
    worst = int(np.argmax(error))
    if error[worst] <= UNIT_TOLERANCE:
        return None
    return Verdict.BAD_ORIENTATION, f"deviation {error[worst]:.4g}", worst


def _mixed(cosines: NDArray[np.float64], spacings: NDArray[np.float64]) -> tuple[Verdict, str, int] | None:
    """Compare every slice with the median one, so that no single slice is the reference."""
    difference = np.abs(cosines - np.median(cosines, axis=0)).max(axis=1)
    worst = int(np.argmax(difference))
    if difference[worst] > ORIENTATION_TOLERANCE:
        angle = _largest_angle_degrees(cosines, worst)
        return Verdict.MIXED_ORIENTATION, f"up to {angle:.3g} degrees apart", worst
    typical = np.median(spacings, axis=0)
    difference = np.abs(spacings / typical - 1).max(axis=1)
    worst = int(np.argmax(difference))
    if difference[worst] > SPACING_TOLERANCE:
        found, usual = (" x ".join(f"{value:g}" for value in pair) for pair in (spacings[worst], typical))
        return Verdict.MIXED_SPACING, f"{found} mm and {usual} mm", worst
    return None


def _largest_angle_degrees(cosines: NDArray[np.float64], index: int) -> float:
    """Largest angle between the axes of one slice and those of any other."""
    chord = np.maximum(
        np.linalg.norm(cosines[:, :3] - cosines[index, :3], axis=1),
        np.linalg.norm(cosines[:, 3:] - cosines[index, 3:], axis=1),
    )
    return float(np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1)).max()))


Judgment = tuple[Verdict, str, int | None, tuple[int, ...]]
"""Return verdict and finding of a sorted stack, the slice of the finding, and the slices of each even run."""


def _judge_steps(positions: NDArray[np.float64], normal: NDArray[np.float64]) -> Judgment:
    steps = np.diff(positions, axis=0)
    along = steps @ normal
    closest = int(np.argmin(along))
    if along[closest] < SAME_POSITION_MM:
        places = 1 + int(np.count_nonzero(along >= SAME_POSITION_MM))
        return Verdict.MULTI_VOLUME, f"{len(positions)} slices at {places} positions", closest + 1, ()
    if not is_even(positions):
        return _judge_uneven(positions, along)
    mean_step = steps.mean(axis=0)
    distance = float(np.linalg.norm(mean_step))
    angle = float(np.degrees(np.arccos(np.clip(mean_step @ normal / distance, -1, 1))))
    runs = (len(positions),)
    if angle > SHEAR_TOLERANCE_DEGREES:
        return Verdict.SHEARED, f"{angle:.1f} degrees off the normal", None, runs
    return Verdict.REGULAR, f"{len(positions)} slices {distance:.4g} mm apart", None, runs


def _judge_uneven(positions: NDArray[np.float64], along_mm: NDArray[np.float64]) -> Judgment:
    """Distinguish slices missing from an even grid from inherently uneven spacing."""
    usual = _grid_step(along_mm) or float(np.median(along_mm))
    runs = split_runs(positions, usual * float(np.linalg.norm(positions[-1] - positions[0])) / float(along_mm.sum()))
    found = f"{len(runs)} evenly spaced runs" if runs else f"more than {MOST_RUNS} evenly spaced runs"
    missing = int(np.sum(np.rint(along_mm / usual) - 1))
    worst = int(np.argmax(np.abs(along_mm - usual)))
    even = runs if runs and max(runs) >= LONGEST_RUN_LEAST else ()
    if _grid_step(along_mm) is None or _has_other_step(along_mm, runs or (), usual):
        detail = f"slice distances {along_mm.min():.4g} to {along_mm.max():.4g} mm, {found}"
        return Verdict.VARIABLE, detail, worst + 1, even
    detail = f"{missing} missing, a step of {along_mm.max():.4g} mm among {usual:.4g} mm, {found}"
    return Verdict.GAP, detail, worst + 1, even


def _grid_step(along_mm: NDArray[np.float64]) -> float | None:
    """Return the step of which all are multiples, if there is one: the usual or the smallest."""
    for step in (float(np.median(along_mm)), float(along_mm.min())):
        multiples = np.maximum(np.rint(along_mm / step), 1)
        if multiples.max() > 1 and np.all(np.abs(along_mm - multiples * step) <= tolerance_mm(step) * multiples):
            return step
    return None


def _has_other_step(along_mm: NDArray[np.float64], runs: tuple[int, ...], usual_mm: float) -> bool:
    """Whether a run is evenly spaced by more than the usual step: then nothing is missing there."""
    return any(part.stop - part.start > 2 and along_mm[part.start] > PAIR_LIMIT * usual_mm for part in _parts(runs))
