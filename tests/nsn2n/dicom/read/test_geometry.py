# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Order, verdict and affine of a stack of slices, with highdicom as oracle."""

from __future__ import annotations

import highdicom.spatial
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from nsn2n.dicom.read.geometry import Verdict, arrange_slices

AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


def only_part(arrangement):
    """The one grid of an arrangement."""
    assert arrangement.geometry is not None
    (part,) = arrangement.geometry.parts
    return part


def stack(positions_z, **options):
    """Arrange axial slices at given z."""
    count = len(positions_z)
    positions = options.pop("positions", [(0.0, 0.0, z) for z in positions_z])
    orientations = options.pop("orientations", [AXIAL] * count)
    spacings = options.pop("spacings", [(0.5, 0.7)] * count)
    return arrange_slices(positions, orientations, spacings, (6, 8))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    angles=st.tuples(*[st.floats(-180, 180)] * 3),
    spacing=st.tuples(*[st.floats(0.2, 8.0)] * 3),
    origin=st.tuples(*[st.floats(-500, 500)] * 3),
    count=st.integers(2, 12),
    seed=st.integers(0, 2**32 - 1),
)
def test_affine_is_that_of_highdicom_for_any_oblique_stack(angles, spacing, origin, count, seed):
    row, column, normal = Rotation.from_euler("xyz", angles, degrees=True).as_matrix().T
    dz, dy, dx = spacing
    positions = [np.array(origin) + index * dz * normal for index in range(count)]
    shuffled = np.random.default_rng(seed).permutation(count)
    arrangement = arrange_slices(
        [positions[index] for index in shuffled], [(*row, *column)] * count, [(dy, dx)] * count, (6, 8)
    )
    assert arrangement.verdict is Verdict.REGULAR
    assert [int(shuffled[index]) for index in arrangement.order] == list(range(count))
    geometry = only_part(arrangement)
    assert geometry.shape_dhw == (count, 6, 8)
    # highdicom: (slice, row, column) indices; ours: (column, row, slice), as ITK.
    oracle = highdicom.spatial.create_affine_matrix_from_attributes(
        image_position=list(origin),
        image_orientation=[*row, *column],
        pixel_spacing=[dy, dx],
        spacing_between_slices=dz,
        index_convention="RD",
        slices_first=False,
    )
    np.testing.assert_allclose(geometry.affine_lps, oracle, atol=1e-6)
    np.testing.assert_allclose(geometry.affine_ras[:2], -oracle[:2], atol=1e-6)
    np.testing.assert_allclose(geometry.affine_ras[2:], oracle[2:], atol=1e-6)


def test_voxel_centers_are_where_the_headers_say():
    """PS3.3 C.7.6.2.1.1 by hand: column index along the row direction, times the second PixelSpacing."""
    geometry = only_part(stack([10.0, 12.0, 14.0]))
    np.testing.assert_allclose(geometry.affine_lps @ [3, 2, 1, 1], [3 * 0.7, 2 * 0.5, 12.0, 1])
    np.testing.assert_allclose(geometry.affine_ras @ [3, 2, 1, 1], [-3 * 0.7, -2 * 0.5, 12.0, 1])


@pytest.mark.parametrize(
    ("z", "verdict", "runs"),
    [
        ([0, 1, 2, 3], Verdict.REGULAR, (4,)),
        ([3, 0, 2, 1], Verdict.REGULAR, (4,)),
        ([0, 1.02, 2, 3.02, 4], Verdict.REGULAR, (5,)),  # jitter of 0.02 mm
        ([0, 5, 10.04, 15], Verdict.REGULAR, (4,)),  # 1 % of 5 mm
        ([0, 5, 10.12, 15], Verdict.VARIABLE, ()),
        ([0, 1.06, 2, 3, 4], Verdict.VARIABLE, (1, 4)),
        ([0, 0.2, 0.44, 0.6], Verdict.VARIABLE, ()),  # 0.04 mm is a fifth of this step
        ([0, 1.3, 2, 3.3, 4], Verdict.VARIABLE, ()),
        ([0, 4, 8, 12, 19, 26, 33], Verdict.VARIABLE, (4, 3)),
        ([0, 1, 3, 4], Verdict.GAP, ()),
        ([0, 1, 2, 4, 5], Verdict.GAP, (3, 2)),
        ([0, 1, 2, 5, 6, 8], Verdict.GAP, (3, 2, 1)),
        ([0, 1, 2, 3, 6, 10], Verdict.GAP, (4, 1, 1)),
        ([0, 2, 3, 5, 6], Verdict.GAP, ()),
        ([0, 2.5, 5, 7.5, 12.5, 17.5, 22.5], Verdict.VARIABLE, (4, 3)),  # nothing is missing from two spacings
        ([0, 1, 1, 2], Verdict.MULTI_VOLUME, ()),
        ([0, 1, 0, 1], Verdict.MULTI_VOLUME, ()),
        ([0], Verdict.SINGLE_SLICE, ()),
    ],
)
def test_spacing_decides_the_verdict_and_the_runs(z, verdict, runs):
    arrangement = stack(z)
    assert arrangement.verdict is verdict
    assert (arrangement.geometry.slice_counts if arrangement.geometry else ()) == runs
    assert arrangement.geometry is None or arrangement.geometry.shape_dhw == (len(z), 6, 8)


def test_each_run_has_the_grid_of_its_own_slices():
    """A head scan whose lower half is thicker, the two moved against each other."""
    arrangement = stack([*range(0, 56, 4), *(53.08 + 7 * index for index in range(14))])
    assert arrangement.verdict is Verdict.VARIABLE
    assert arrangement.geometry is not None
    thin, thick = arrangement.geometry.parts
    np.testing.assert_allclose(arrangement.geometry.spacings_mm, [(4.0, 0.5, 0.7), (7.0, 0.5, 0.7)])
    assert (thin.shape_dhw, thick.shape_dhw) == ((14, 6, 8), (14, 6, 8))
    np.testing.assert_allclose(thin.affine_lps @ [0, 0, 13, 1], (0, 0, 52, 1))
    np.testing.assert_allclose(thick.affine_lps @ [0, 0, 1, 1], (0, 0, 60.08, 1))


def test_a_part_of_one_slice_has_the_distance_to_its_neighbor():
    parts = stack([0, 1, 2, 3, 5]).geometry.parts
    assert [part.shape_dhw[0] for part in parts] == [4, 1]
    assert parts[1].position_mm == (0, 0, 5)
    assert parts[1].slice_step_mm == (0, 0, 2)
    assert not parts[1].is_sheared


def test_slow_drift_within_tolerance_of_each_step_is_still_uneven():
    steps = np.linspace(0.955, 1.045, 120)  # every step within 0.05 mm of 1 mm, the middle far off the grid
    assert stack(np.concatenate([[0], np.cumsum(steps)])).verdict is Verdict.VARIABLE


@pytest.mark.parametrize(
    ("degrees", "verdict"), [(0.5, Verdict.REGULAR), (1.5, Verdict.SHEARED), (18.5, Verdict.SHEARED)]
)
def test_tilt_decides_between_regular_and_sheared(degrees, verdict):
    shift = np.tan(np.radians(degrees))
    arrangement = stack(range(6), positions=[(0, shift * index, index) for index in range(6)])
    assert arrangement.verdict is verdict
    geometry = only_part(arrangement)
    np.testing.assert_allclose(geometry.slice_step_mm, (0, shift, 1))
    assert geometry.spacing_mm[0] == pytest.approx(np.hypot(1, shift))  # the 3D step
    assert geometry.tilt_degrees == pytest.approx(degrees)
    assert geometry.is_sheared == (verdict is Verdict.SHEARED)
    assert geometry.shear_px == pytest.approx((shift / 0.5, 0))  # rows are 0.5 mm apart
    assert arrangement.geometry.shears_px == (geometry.shear_px if geometry.is_sheared else (0, 0),)


def test_stack_with_reversed_column_direction_is_sorted_along_its_own_normal():
    orientation = (1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # the normal points to the feet
    arrangement = stack([0, 1, 2], orientations=[orientation] * 3)
    assert arrangement.order == (2, 1, 0)
    assert only_part(arrangement).slice_step_mm == (0, 0, -1)
    assert np.linalg.det(only_part(arrangement).affine_lps) > 0  # right-handed


@pytest.mark.parametrize("culprit", [0, 2])
@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"orientations": (0.999, 0.0447, 0, -0.0447, 0.999, 0)}, Verdict.MIXED_ORIENTATION),
        ({"orientations": (0, 0, 0, 0, 0, 0)}, Verdict.BAD_ORIENTATION),
        ({"orientations": (1, 0, 0, 1, 0, 0)}, Verdict.BAD_ORIENTATION),
        ({"orientations": (1.01, 0, 0, 0, 1, 0)}, Verdict.BAD_ORIENTATION),
        ({"spacings": (0.5, 0.8)}, Verdict.MIXED_SPACING),
    ],
)
def test_the_odd_slice_is_named_wherever_it_is(culprit, options, verdict):
    ((name, odd),) = options.items()
    usual = AXIAL if name == "orientations" else (0.5, 0.7)
    arrangement = stack(range(5), **{name: [odd if index == culprit else usual for index in range(5)]})
    assert arrangement.verdict is verdict
    assert arrangement.culprit == culprit


def test_rounding_of_written_cosines_is_taken_out():
    rounded = (0.707, 0.707, 0, 0, 0, -1)  # unit length only to 2e-4
    positions = [(-0.707107 * index, 0.707107 * index, 0) for index in range(4)]
    geometry = only_part(stack(range(4), positions=positions, orientations=[rounded] * 4))
    np.testing.assert_allclose(geometry.row_direction, (np.sqrt(0.5), np.sqrt(0.5), 0))
