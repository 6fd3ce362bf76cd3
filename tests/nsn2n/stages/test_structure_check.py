# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The verdict is that of what was removed, and a bad one is warned of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from nsn2n.contrast_kept import ContrastKept, KeptCell
from nsn2n.modality import Modality
from nsn2n.stages.simulated_copy import simulated_copy
from nsn2n.stages.structure_check import structure_check


def test_noise_passes_and_a_removed_lesion_does_not(make_state, run_stage, noisy_dhw, caplog):
    assert run_stage(structure_check(), make_state()).structure.verdict == "pass"
    assert not caplog.records
    volume = noisy_dhw.copy()
    volume[3, 16:24, 16:24] += 50

    state = run_stage(structure_check(), make_state(volume))

    assert state.structure.verdict == "fail"
    assert state.structure.findings[0].index_zyx[0] == 3
    assert "does not look like noise" in caplog.text


def test_faint_discs_that_are_lost_fail(make_state, run_stage):
    kept = ContrastKept((KeptCell(5.0, 1.0, 0.3, 4, True),), ())

    structure = run_stage(structure_check(), replace(make_state(), contrast=kept)).structure

    assert structure.verdict == "fail"
    assert structure.contrast == pytest.approx(0.7)


def test_noise_left_in_ct_is_halfway_between_that_of_detailed_and_of_homogeneous_tissue(make_state, run_stage):
    def kept(share):
        return lambda other: replace(other, denoised=100 + share * (other.filled - 100))

    state = replace(make_state(modality=Modality.CT), again=kept(0.5))
    before = run_stage(simulated_copy(), state)
    of_blank = replace(before.of_blank, denoised=before.blank.truth + 0.3 * (before.blank.noisy - before.blank.truth))

    after = run_stage(structure_check(), replace(before, of_blank=of_blank))

    in_copy = before.copy.noise_left(before.of_copy.denoised)
    assert 0.4 < in_copy < 0.6
    assert after.measured.noise_left == pytest.approx((in_copy + 0.3) / 2, abs=0.005)
    assert after.copy is after.blank is after.of_blank is None


def test_what_is_no_measurement_is_not_judged(make_state, run_stage, noisy_dhw):
    volume, valid = noisy_dhw.copy(), np.ones(noisy_dhw.shape, bool)
    volume[3, 16:24, 16:24] += 50
    valid[3, 14:26, 14:26] = False

    assert run_stage(structure_check(), make_state(volume, valid=valid)).structure.verdict == "pass"
