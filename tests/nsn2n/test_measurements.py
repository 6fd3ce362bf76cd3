# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What was measured on parts becomes one figure for the whole."""

from __future__ import annotations

import json
from dataclasses import fields, replace

import numpy as np
import pytest

from nsn2n.measurements import Measurements, merged

FIRST = Measurements(
    modality="CT", noise_sd_median=10.0, slice_correlation=0.2, partner_distance=1, matched_fraction=0.5,
    rms_change=3.0, start="bundle", steps=80, final_loss=1.0, compute="cpu float32", seconds=1.25,
)  # fmt: skip
SECOND = replace(
    FIRST, noise_sd_median=40.0, slice_correlation=0.5, partner_distance=2, matched_fraction=0.9,
    rician_bias_taken=True, rms_change=6.0, steps=60, refit_steps=9, final_loss=2.0, seconds=2.5,
)  # fmt: skip


def test_each_figure_is_merged_as_it_says():
    whole = merged([(2, FIRST), (6, SECOND)], parts=3, slices_alone=1)

    assert whole == Measurements(
        modality="CT",
        noise_sd_median=40.0,
        slice_correlation=pytest.approx((2 * 0.2 + 6 * 0.5) / 8),
        partner_distance=2,
        matched_fraction=pytest.approx((2 * 0.5 + 6 * 0.9) / 8),
        rician_bias_taken=False,
        rms_change=pytest.approx(np.sqrt((2 * 9 + 6 * 36) / 8)),
        start="bundle",
        steps=80,
        refit_steps=9,
        final_loss=pytest.approx((2 * 1 + 6 * 2) / 8),
        compute="cpu float32",
        seconds=3.75,
        parts=3,
        slices_alone=1,
    )


def test_a_step_is_reported_for_the_whole_only_if_every_part_got_it():
    taken = replace(FIRST, rician_bias_taken=True)

    assert merged([(2, taken), (6, taken)], parts=2, slices_alone=0).rician_bias_taken
    assert not merged([(2, taken), (6, FIRST)], parts=2, slices_alone=0).rician_bias_taken


def test_every_field_says_how_it_is_merged():
    assert all(callable(entry.metadata["merge"]) for entry in fields(Measurements))


def test_plain_values_leave_out_what_does_not_apply():
    plain = FIRST.to_mapping()

    assert json.loads(json.dumps(plain)) == plain
    assert set(plain) == {entry.name for entry in fields(Measurements)} - {
        "parts", "slices_alone", "noise_factor", "detail_lost", "noise_left", "acquired_rows", "acquired_columns",
    }  # fmt: skip
    assert replace(FIRST, parts=2, slices_alone=0).to_mapping()["slices_alone"] == 0
