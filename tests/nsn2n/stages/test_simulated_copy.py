# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The copy goes through the last fit once more, and leaves the volume as it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from nsn2n.modality import Modality
from nsn2n.stages.neighbor_fit import neighbor_fit
from nsn2n.stages.simulated_copy import simulated_copy


def test_the_copy_goes_through_the_fit(make_state, run_stage, noisy_dhw):
    def blurred(other):
        return replace(other, denoised=ndimage.gaussian_filter(other.filled, (0, 1, 1)))

    before = replace(make_state(), again=blurred)

    after = run_stage(simulated_copy(), before)

    np.testing.assert_array_equal(after.denoised, before.denoised)
    assert after.copy is not None
    np.testing.assert_array_equal(after.of_copy.filled, after.copy.noisy)
    np.testing.assert_array_equal(after.of_copy.denoised, blurred(after.of_copy).denoised)
    assert 4 < np.std(after.copy.noisy - after.copy.truth) < 6


@pytest.mark.parametrize(("modality", "simulated"), [(Modality.CT, True), (Modality.MR, False)])
def test_in_ct_there_is_also_a_copy_without_detail(make_state, run_stage, modality, simulated):
    state = replace(make_state(modality=modality), again=lambda other: replace(other, denoised=other.filled / 2))

    after = run_stage(simulated_copy(), state)

    assert (after.blank is not None) == simulated
    if simulated:
        np.testing.assert_array_equal(after.of_blank.denoised, after.blank.noisy / 2)
        assert np.std(after.blank.truth) < 0.2 * np.std(after.copy.truth)


def test_a_network_does_to_the_same_volume_what_its_fit_did(make_state, run_stage):
    fitted = run_stage(neighbor_fit(draft=False), make_state())

    again = fitted.again(replace(fitted, denoised=None))

    np.testing.assert_array_equal(again.denoised, fitted.denoised)
