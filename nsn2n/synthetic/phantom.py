# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A synthetic low-dose CT series with known truth, for the demonstration, tests and benchmarks.

The object is analytic: ellipsoids and elliptic rods with smooth changes along z. Each slice is scanned
separately with exact parallel-beam line integrals, Poisson noise in the photon counts and filtered
back-projection. So the noise is that of a CT scanner: correlated in the plane, stronger where less radiation
gets through, independent from slice to slice, and of zero mean except for the logarithm of few counts (about
1 HU at most at a quarter of the dose).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from nsn2n.errors import SettingsError
from nsn2n.synthetic.parallel_beam import Ellipse, Scanner, centers_mm, project, reconstruct

__all__ = ["Ellipsoid", "PhantomStudy", "make_phantom", "phantom_ellipsoids"]

FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]

WATER_ATTENUATION_PER_MM = 0.0193
"""Of water at 70 keV, about the mean energy of a scan at 120 kV."""
FIELD_OF_VIEW_MM = 384.0
"""Width of the longer side of a slice unless a spacing is given."""
FULL_DOSE_PHOTONS_PER_MM = 1.5e8
"""Photons per mm of detector, sum of all views, without an object: sets the noise at ``dose=1``.

Fixed for the whole scan and not for each ray, so that the noise does not depend on matrix size and views.
"""
SOFT_TISSUE_HU = 40.0
_AIR_HU = -1000.0
_FEWEST_CELLS = 256
"""Detector cells along the longer side of a slice, however few pixels it has."""
_MASK_MARGIN_MM = 6.0
_SLICES_AT_ONCE = 12


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid whose axes are those of the volume, or an elliptic rod; it may lean (shear) along z."""

    center_zyx_mm: tuple[float, float, float]
    semi_axes_zyx_mm: tuple[float, float, float]
    """A rod through the whole volume has an infinite semi-axis along z."""
    hu: float
    """Added to the existing value, in HU."""
    lean_yx: tuple[float, float] = (0.0, 0.0)
    """Move of the center per mm of z."""

    def at(self, z_mm: float) -> Ellipse | None:
        """Return its cut by the plane at z, an ellipse, or None where the plane misses it."""
        dz = z_mm - self.center_zyx_mm[0]
        scale = 1 - (dz / self.semi_axes_zyx_mm[0]) ** 2
        if scale <= 0:
            return None
        _, y, x = self.center_zyx_mm
        _, b, a = (length * math.sqrt(scale) for length in self.semi_axes_zyx_mm)
        center = (y + self.lean_yx[0] * dz, x + self.lean_yx[1] * dz)
        return Ellipse(center, (b, a), self.hu / 1000 * WATER_ATTENUATION_PER_MM)


@dataclass(frozen=True)
class PhantomStudy:
    """A noisy CT volume and the same without noise; all arrays have the shape (d, h, w)."""

    noisy_dhw: FloatArray
    """HU."""
    truth_dhw: FloatArray
    """HU; the same reconstruction of the same rays without noise, so a difference to it is noise alone."""
    analytic_dhw: FloatArray
    """HU of the object itself at each voxel's center, without the blur and the artifacts of a scanner."""
    soft_tissue_mask: NDArray[np.bool_]
    """Voxels of the homogeneous soft tissue, at least 6 mm in the plane from anything else."""
    spacing_mm: tuple[float, float, float]
    """Of (slices, rows, columns)."""


def make_phantom(
    shape_dhw: tuple[int, int, int] = (24, 256, 256),
    *,
    spacing_mm: tuple[float, float, float] | None = None,
    dose: float = 0.25,
    seed: int = 0,
    views: int | None = None,
) -> PhantomStudy:
    """Scan the analytic phantom.

    Parameters
    ----------
    shape_dhw : tuple of int
        Slices, rows, columns. The object fills the field of view, whatever its size.
    spacing_mm : tuple of float, optional
        Of (slices, rows, columns); 2 mm between slices and a field of view of 384 mm unless given.
    dose : float
        Fraction of a full dose, > 0. The noise in soft tissue has a standard deviation of about 35 HU at 0.25
        (with the default field of view) and follows 1 / sqrt(dose).
    seed : int
        Of the noise; the same seed gives the same volume.
    views : int, optional
        Angles per slice; twice the longer side in pixels, and at least 256, unless given.

    Returns
    -------
    PhantomStudy

    Raises
    ------
    SettingsError
        If a size, spacing, dose or number of views is not positive.
    """
    _, height, width = shape_dhw
    if spacing_mm is None:
        pixel_mm = FIELD_OF_VIEW_MM / max(1, height, width)
        spacing_mm = (2.0, pixel_mm, pixel_mm)
    if views is None:
        views = 2 * max(_FEWEST_CELLS // 2, height, width)
    _check(shape_dhw=shape_dhw, spacing_mm=spacing_mm, dose=(dose,), views=(views,))

    z_mm, y_mm, x_mm = (centers_mm(*axis) for axis in zip(shape_dhw, spacing_mm, strict=True))
    depth_mm, *sides_mm = (size * step for size, step in zip(shape_dhw, spacing_mm, strict=True))
    ellipsoids = phantom_ellipsoids((depth_mm, sides_mm[0], sides_mm[1]))
    # A coarse matrix samples a scan that itself is not coarse: fewer cells would cause artifacts.
    pitch_mm = min(*spacing_mm[1:], max(sides_mm) / _FEWEST_CELLS)
    # The detector is as long as the slice's diagonal and a cell more on each side.
    scanner = Scanner(views, math.ceil(math.hypot(*sides_mm) / pitch_mm) + 2, pitch_mm)
    photons = dose * FULL_DOSE_PHOTONS_PER_MM * pitch_mm / views
    generators = [np.random.default_rng(child) for child in np.random.SeedSequence(seed).spawn(len(z_mm))]

    noisy, truth, analytic = (np.empty(shape_dhw, np.float32) for _ in range(3))
    for start in range(0, len(z_mm), _SLICES_AT_ONCE):
        chunk = slice(start, start + _SLICES_AT_ONCE)
        cuts = [_cut(ellipsoids, z) for z in z_mm[chunk]]
        analytic[chunk] = [_rasterize(ellipses, y_mm, x_mm) for ellipses in cuts]
        exact = np.stack([project(ellipses, scanner) for ellipses in cuts])
        truth[chunk] = _to_hu(reconstruct(exact, scanner, y_mm, x_mm))
        counted = zip(exact, generators[chunk], strict=True)
        measured = np.stack([_count_photons(lines, photons, generator) for lines, generator in counted])
        noisy[chunk] = _to_hu(reconstruct(measured, scanner, y_mm, x_mm))

    mask = _inner_soft_tissue(analytic, (spacing_mm[1], spacing_mm[2]))
    return PhantomStudy(noisy, truth, analytic, mask, spacing_mm)


def phantom_ellipsoids(extent_mm: tuple[float, float, float]) -> list[Ellipsoid]:
    """Return the parts of the phantom for a volume of a size in mm, in the order (z, y, x).

    An abdomen in outline: fat and soft tissue, an air-filled lung base with vessels, a vertebra with a ring
    of compact bone, leaning ribs, an aorta, rods along z, and round inserts of 5 to 60 HU in the large
    homogeneous part, from 3 to 24 mm in diameter (at 384 mm of width) and with different lengths along z.
    The parts are placed without symmetry: a mirrored or rotated volume is a different one.
    """
    half_z = extent_mm[0] / 2
    half = min(extent_mm[1:]) / 2
    through = math.inf

    def part(
        zyx: tuple[float, float, float],
        semi_zyx: tuple[float, float, float],
        hu: float,
        lean_yx: tuple[float, float] = (0.0, 0.0),
    ) -> Ellipsoid:
        """Centers and leans as parts of the half height and half field of view; z semi-axes in mm."""
        z, y, x = zyx
        semi_z, b, a = semi_zyx
        lean = (lean_yx[0] * half / half_z, lean_yx[1] * half / half_z)
        return Ellipsoid((z * half_z, y * half, x * half), (semi_z, b * half, a * half), hu, lean)

    tall = 5 * half_z  # narrows by 2 % from the middle to the first and last slice
    fat, marrow, compact = -100.0, 300.0, 800.0
    body = [
        part((0.1, 0, 0), (tall, 0.70, 0.92), fat - _AIR_HU),
        part((0.1, 0, 0), (tall, 0.63, 0.85), SOFT_TISSUE_HU - fat),
        part((-0.3, 0.42, 0.02), (through, 0.13, 0.16), compact - SOFT_TISSUE_HU),
        part((-0.3, 0.42, 0.02), (through, 0.10, 0.13), marrow - compact),
        part((-0.6, -0.12, 0.46), (1.8 * half_z, 0.30, 0.24), -850.0 - SOFT_TISSUE_HU),
        part((0.0, -0.20, 0.42), (through, 0.020, 0.025), 880.0, (0.05, 0.06)),
        part((0.0, -0.05, 0.50), (through, 0.014, 0.012), 880.0, (-0.06, 0.03)),
        part((0.0, 0.24, 0.10), (through, 0.06, 0.065), 100.0, (0.01, 0.02)),
    ]
    ribs = [
        part((0, 0.66 * math.sin(angle), 0.88 * math.cos(angle)), (through, 0.02, 0.03), compact, (0.03, 0.02))
        for angle in (0.5, 1.2, 2.1, 2.8, 3.9, 4.8, 5.7)
    ]
    rods = [
        part((0, 0.38, -0.42), (through, 0.045, 0.045), 60.0),
        part((0, 0.34, 0.45), (through, 0.035, 0.035), 200.0),
        part((0, -0.50, 0.05), (through, 0.03, 0.03), -100.0),
    ]
    # Center along z and in the plane, radius in the plane, semi-axis along z in mm, contrast in HU.
    inserts = [
        part((z, y, x), (semi_z_mm, radius, radius), hu)
        for z, y, x, radius, semi_z_mm, hu in (
            (-0.1, -0.30, -0.22, 0.062, 20.0, 5.0),
            (0.2, -0.28, -0.45, 0.055, 14.0, 10.0),
            (-0.4, -0.08, -0.66, 0.045, 16.0, -15.0),
            (0.5, -0.08, -0.46, 0.036, 9.0, 20.0),
            (0.0, -0.08, -0.28, 0.028, 6.0, 30.0),
            (-0.5, -0.06, -0.12, 0.020, 8.0, 40.0),
            (0.3, 0.14, -0.64, 0.016, 5.0, 50.0),
            (-0.2, 0.16, -0.46, 0.012, 4.0, 60.0),
            (0.6, 0.16, -0.30, 0.008, 10.0, 60.0),
        )
    ]
    return body + ribs + rods + inserts


def _check(**values: tuple[float, ...]) -> None:
    for name, numbers in values.items():
        if not all(math.isfinite(number) and number > 0 for number in numbers):
            found = numbers[0] if len(numbers) == 1 else numbers
            raise SettingsError(f"{name} of the phantom must be positive and finite; got {found}. Change {name}.")


def _cut(ellipsoids: list[Ellipsoid], z_mm: float) -> list[Ellipse]:
    cuts = (ellipsoid.at(z_mm) for ellipsoid in ellipsoids)
    return [ellipse for ellipse in cuts if ellipse is not None]


def _count_photons(line_integrals: DoubleArray, photons: float, generator: np.random.Generator) -> DoubleArray:
    counts = generator.poisson(photons * np.exp(-line_integrals)).astype(np.float64)
    # A ray that nothing reached is taken as half a photon: the logarithm needs a positive number.
    return np.asarray(math.log(photons) - np.log(np.maximum(counts, 0.5)), dtype=np.float64)


def _to_hu(attenuation: FloatArray) -> FloatArray:
    hu: FloatArray = attenuation * np.float32(1000 / WATER_ATTENUATION_PER_MM) + np.float32(_AIR_HU)
    return hu


def _rasterize(ellipses: list[Ellipse], y_mm: DoubleArray, x_mm: DoubleArray) -> FloatArray:
    attenuation = np.zeros((y_mm.size, x_mm.size), np.float32)
    for ellipse in ellipses:
        (y, x), (b, a) = ellipse.center_yx_mm, ellipse.semi_axes_yx_mm
        inside = ((y_mm[:, None] - y) / b) ** 2 + ((x_mm - x) / a) ** 2 <= 1
        attenuation[inside] += np.float32(ellipse.attenuation)
    return _to_hu(attenuation)


def _inner_soft_tissue(analytic_dhw: FloatArray, pixel_mm: tuple[float, float]) -> NDArray[np.bool_]:
    soft_tissue = np.abs(analytic_dhw - SOFT_TISSUE_HU) < 1
    distances = (ndimage.distance_transform_edt(plane, sampling=pixel_mm) for plane in soft_tissue)
    return np.stack([distance > _MASK_MARGIN_MM for distance in distances])
