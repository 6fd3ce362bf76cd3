# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Projections against sums along rays; reconstruction against known ellipses and against scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.transform import iradon

from nsn2n.synthetic.parallel_beam import Ellipse, Scanner, project, reconstruct

ELLIPSES = [
    Ellipse((0.0, 0.0), (30.0, 42.0), 0.02),
    Ellipse((-8.0, 12.0), (9.0, 5.0), 0.03),
    Ellipse((10.0, -20.0), (3.0, 7.0), -0.02),
]


def _attenuation_at(y_mm, x_mm):
    return sum(
        e.attenuation
        * (
            ((y_mm - e.center_yx_mm[0]) / e.semi_axes_yx_mm[0]) ** 2
            + ((x_mm - e.center_yx_mm[1]) / e.semi_axes_yx_mm[1]) ** 2
            <= 1
        )
        for e in ELLIPSES
    )


def test_projection_is_the_mean_line_integral_over_each_cell():
    scanner = Scanner(views=7, cells=30, pitch_mm=3.0)
    step_mm = 0.02
    along = np.arange(-60, 60, step_mm)
    inside_cell = (np.arange(24) + 0.5) / 24 - 0.5
    expected = np.empty((scanner.views, scanner.cells))
    for view, angle in enumerate(scanner.angles):
        for cell, center in enumerate(scanner.cell_centers_mm):
            t = (center + inside_cell * scanner.pitch_mm)[:, None]
            y = t * math.sin(angle) + along * math.cos(angle)
            x = t * math.cos(angle) - along * math.sin(angle)
            expected[view, cell] = _attenuation_at(y, x).sum() * step_mm / inside_cell.size

    # Rays that graze an ellipse limit the sums' accuracy.
    np.testing.assert_allclose(project(ELLIPSES, scanner), expected, atol=0.006)


def test_each_view_holds_the_mass_of_the_object():
    scanner = Scanner(views=11, cells=100, pitch_mm=1.0)
    mass = sum(e.attenuation * math.pi * math.prod(e.semi_axes_yx_mm) for e in ELLIPSES)

    np.testing.assert_allclose(project(ELLIPSES, scanner).sum(axis=1) * scanner.pitch_mm, mass, rtol=1e-12)


def test_reconstruction_recovers_values_at_their_places():
    scanner = Scanner(views=360, cells=160, pitch_mm=0.75)
    y_mm, x_mm = np.arange(-35, 36, 0.75), np.arange(-45, 46, 0.75)

    image = reconstruct(project(ELLIPSES, scanner)[None], scanner, y_mm, x_mm)[0]

    expected = _attenuation_at(y_mm[:, None], x_mm)
    assert image.shape == expected.shape
    homogeneous = np.ones_like(expected, bool)
    for dy, dx in ((0, 3), (3, 0), (0, -3), (-3, 0), (2, 2), (-2, -2), (2, -2), (-2, 2)):
        homogeneous &= np.roll(expected, (dy, dx), (0, 1)) == expected
    homogeneous[:3] = homogeneous[-3:] = homogeneous[:, :3] = homogeneous[:, -3:] = False
    error = (image - expected)[homogeneous]
    assert np.count_nonzero(homogeneous & (expected > 0.04)) > 20  # the small ellipses count too
    assert np.count_nonzero(homogeneous & (expected == 0)) > 20
    assert abs(error.mean()) < 2e-5
    assert np.percentile(np.abs(error), 99) < 6e-4  # 3 % of the large ellipse


def test_reconstruction_agrees_with_scikit_image():
    pitch_mm = 0.75
    # The window then is the Hann window over the whole band, which scikit-image has too.
    scanner = Scanner(views=180, cells=151, pitch_mm=pitch_mm, cutoff_per_mm=1 / (2 * pitch_mm))
    sinogram = project(ELLIPSES, scanner)

    ours = reconstruct(sinogram[None], scanner, *([scanner.cell_centers_mm] * 2))[0]
    theirs = iradon(sinogram.T, np.degrees(scanner.angles), filter_name="hann", interpolation="cubic") / pitch_mm

    theirs = theirs[::-1]  # its rows run against our y
    radius = np.hypot(scanner.cell_centers_mm[:, None], scanner.cell_centers_mm)
    np.testing.assert_allclose(ours[radius < 50], theirs[radius < 50], atol=3e-4)


def test_slices_do_not_influence_each_other():
    scanner = Scanner(views=30, cells=80, pitch_mm=1.5)
    grid = np.arange(-40, 41, 4.0)
    first = project(ELLIPSES[:1], scanner)
    second = project(ELLIPSES[1:], scanner)

    together = reconstruct(np.stack([first, second]), scanner, grid, grid)

    np.testing.assert_allclose(together[0], reconstruct(first[None], scanner, grid, grid)[0], atol=1e-7)
    np.testing.assert_allclose(together[1], reconstruct(second[None], scanner, grid, grid)[0], atol=1e-7)


@pytest.mark.parametrize("ellipse", ELLIPSES)
def test_projection_is_zero_where_no_ray_meets_the_ellipse(ellipse):
    scanner = Scanner(views=5, cells=64, pitch_mm=2.0)

    sinogram = project([ellipse], scanner)

    distance = np.abs(
        scanner.cell_centers_mm
        - ellipse.center_yx_mm[1] * np.cos(scanner.angles)[:, None]
        - ellipse.center_yx_mm[0] * np.sin(scanner.angles)[:, None]
    )
    assert np.all(sinogram[distance > max(ellipse.semi_axes_yx_mm) + scanner.pitch_mm] == 0)
    assert np.all(sinogram[distance < min(ellipse.semi_axes_yx_mm)] != 0)
