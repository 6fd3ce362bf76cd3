# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The phantom holds the values it claims, and its noise is that of a CT scanner."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nsn2n.errors import SettingsError
from nsn2n.synthetic.phantom import SOFT_TISSUE_HU, Ellipsoid, make_phantom, phantom_ellipsoids


@pytest.fixture(scope="module")
def study():
    return make_phantom((12, 256, 256), spacing_mm=(4.0, 1.5, 1.5))


@pytest.fixture(scope="module")
def noise_dhw(study):
    return study.noisy_dhw - study.truth_dhw


def _correlation(a, b, mask):
    return float(np.mean(a[mask] * b[mask]) / math.sqrt(np.mean(a[mask] ** 2) * np.mean(b[mask] ** 2)))


def test_shapes_and_types(study):
    for volume in (study.noisy_dhw, study.truth_dhw, study.analytic_dhw):
        assert volume.shape == (12, 256, 256)
        assert volume.dtype == np.float32
        assert np.isfinite(volume).all()
    assert study.soft_tissue_mask.shape == (12, 256, 256)
    assert study.soft_tissue_mask.any(axis=(1, 2)).all()


def test_soft_tissue_has_its_value_without_noise(study):
    inside = study.truth_dhw[study.soft_tissue_mask]

    assert np.all(study.analytic_dhw[study.soft_tissue_mask] == pytest.approx(SOFT_TISSUE_HU, abs=0.01))
    assert inside.mean() == pytest.approx(SOFT_TISSUE_HU, abs=0.5)
    assert np.percentile(np.abs(inside - SOFT_TISSUE_HU), 95) < 8


def test_inserts_and_rods_have_their_contrast_without_noise(study):
    z, y, x = (
        (np.arange(n) - (n - 1) / 2) * step for n, step in zip(study.truth_dhw.shape, study.spacing_mm, strict=True)
    )
    checked = 0
    for part in phantom_ellipsoids((48.0, 384.0, 384.0)):
        index = int(np.argmin(np.abs(z - part.center_zyx_mm[0])))
        cut = part.at(z[index])
        if not 5 <= abs(part.hu) <= 200 or cut is None or not 3.5 < min(cut.semi_axes_yx_mm) < 20:
            continue
        (cy, cx), (b, a) = cut.center_yx_mm, cut.semi_axes_yx_mm
        center = ((y[:, None] - cy) / b) ** 2 + ((x - cx) / a) ** 2 < 0.6**2
        found = study.truth_dhw[index][center].mean()
        assert study.analytic_dhw[index][center] == pytest.approx(SOFT_TISSUE_HU + part.hu, abs=0.01)
        assert found - SOFT_TISSUE_HU == pytest.approx(part.hu, abs=3 + 0.03 * abs(part.hu)), part
        checked += 1
    assert checked >= 9


def test_noise_at_the_default_dose(study, noise_dhw):
    inside = noise_dhw[study.soft_tissue_mask]

    assert 30 < inside.std() < 40
    assert abs(inside.mean()) < 1


def test_noise_follows_the_square_root_of_the_dose():
    deviation = {}
    for dose in (0.125, 0.5, 1.0):
        study = make_phantom((4, 128, 128), dose=dose, seed=3)
        deviation[dose] = (study.noisy_dhw - study.truth_dhw)[study.soft_tissue_mask].std()

    assert deviation[0.125] / deviation[0.5] == pytest.approx(2, rel=0.03)
    assert deviation[0.5] / deviation[1.0] == pytest.approx(math.sqrt(2), rel=0.03)


@pytest.mark.parametrize("size", [64, 192])
def test_noise_does_not_depend_on_the_matrix(size, study, noise_dhw):
    other = make_phantom((4, size, size))

    deviation = (other.noisy_dhw - other.truth_dhw)[other.soft_tissue_mask].std()
    assert deviation == pytest.approx(noise_dhw[study.soft_tissue_mask].std(), rel=0.08)


def test_noise_is_correlated_in_the_plane_and_independent_between_slices(study, noise_dhw):
    mask = study.soft_tissue_mask

    in_plane = _correlation(noise_dhw[..., :-1], noise_dhw[..., 1:], mask[..., 1:] & mask[..., :-1])
    between = _correlation(noise_dhw[:-1], noise_dhw[1:], mask[:-1] & mask[1:])

    assert in_plane > 0.3
    # About 180 000 voxels, of which some ten share their noise: five standard errors.
    assert abs(between) < 5 * math.sqrt(10 / np.count_nonzero(mask[1:]))


def test_noise_is_stronger_where_less_radiation_gets_through(study, noise_dhw):
    center = noise_dhw[:, 98:158, 98:158].std()
    air_outside = noise_dhw[:, :20, 98:158].std()

    assert center > 1.5 * air_outside


def test_same_seed_same_volume():
    first, again, other = (make_phantom((3, 48, 64), seed=seed) for seed in (5, 5, 6))

    np.testing.assert_array_equal(first.noisy_dhw, again.noisy_dhw)
    np.testing.assert_array_equal(first.truth_dhw, other.truth_dhw)
    assert np.abs(first.noisy_dhw - other.noisy_dhw).mean() > 1


def test_structure_changes_smoothly_along_z(study):
    steps = np.abs(np.diff(study.analytic_dhw, axis=0)).mean(axis=(1, 2))
    across = np.abs(study.analytic_dhw[-1] - study.analytic_dhw[0]).mean()

    assert np.all(steps > 0)
    assert np.all(steps < across / 3)


def test_an_ellipsoid_is_cut_in_ellipses():
    ball = Ellipsoid((1.0, 2.0, 3.0), (5.0, 5.0, 5.0), 100.0, lean_yx=(0.0, 2.0))

    cut = ball.at(4.0)

    assert cut is not None
    assert cut.semi_axes_yx_mm == pytest.approx((4.0, 4.0))  # 3, 4, 5
    assert cut.center_yx_mm == pytest.approx((2.0, 9.0))
    assert ball.at(6.5) is None


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"dose": 0.0}, "dose"),
        ({"dose": math.nan}, "dose"),
        ({"views": 0}, "views"),
        ({"spacing_mm": (2.0, -1.0, 1.0)}, "spacing_mm"),
        ({"shape_dhw": (0, 8, 8)}, "shape_dhw"),
    ],
)
def test_senseless_arguments_are_refused(arguments, name):
    with pytest.raises(SettingsError, match=f"{name} of the phantom must be positive"):
        make_phantom(**{"shape_dhw": (2, 16, 16), **arguments})
