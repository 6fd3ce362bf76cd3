# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Faint discs are put into a part of the volume, which the fit denoises with and without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.stages.faint_discs import faint_discs


def test_the_fit_denoises_the_part_with_and_without_discs(with_faint_discs):
    state, probed = with_faint_discs, with_faint_discs.probed
    part = state.filled[probed.probes.place]

    np.testing.assert_allclose(probed.plain.denoised, 100 + (part - 100) / 2, rtol=1e-6)
    np.testing.assert_allclose(probed.with_discs.denoised, 100 + (probed.probes.put_into(part) - 100) / 2, rtol=1e-6)
    assert probed.plain.noise.sd.shape == part.shape
    kept = probed.kept_by(lambda other: other)
    assert [cell.kept for cell in kept.cells] == pytest.approx([0.5] * 9, abs=1e-3)


def test_what_is_no_measurement_goes_along(with_faint_discs, run_stage):
    valid = np.ones(with_faint_discs.filled.shape, bool)
    valid[:, :, :20] = False

    probed = run_stage(faint_discs(bound_a_filter=True), replace(with_faint_discs, valid=valid)).probed

    np.testing.assert_array_equal(probed.plain.valid, valid[probed.probes.place])


def test_without_a_spacing_a_voxel_counts_as_a_millimeter(with_faint_discs, run_stage):
    one, unknown = (
        run_stage(faint_discs(bound_a_filter=True), replace(with_faint_discs, spacing_mm=spacing)).probed.probes
        for spacing in ((1.0, 1.0, 1.0), None)
    )

    assert one == unknown


def test_without_a_spacing_and_a_filter_that_needs_them_there_are_none(with_faint_discs, run_stage):
    state = replace(with_faint_discs, probed=None, spacing_mm=None)

    assert run_stage(faint_discs(bound_a_filter=False), state).probed is None


def test_without_room_there_are_none(with_faint_discs, run_stage):
    state = replace(with_faint_discs, probed=None, spacing_mm=(2.0, 0.02, 0.02))

    assert run_stage(faint_discs(bound_a_filter=True), state).probed is None
