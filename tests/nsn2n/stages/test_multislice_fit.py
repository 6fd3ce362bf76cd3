# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The second fit goes on with the network of the draft, and keeps what it predicted to be mixed."""

from __future__ import annotations

import numpy as np

from nsn2n.stages.multislice_fit import draft_fit, final_fit


def test_the_final_fit_goes_on_with_the_network_of_the_draft(make_state, run_stage):
    draft = run_stage(draft_fit(), make_state())
    final = run_stage(final_fit(), draft)

    assert draft.multislice is not None
    assert final.multislice is draft.multislice
    assert (draft.measured.refit_steps, final.measured.refit_steps) == (1, 2)


def test_what_was_denoised_is_replaced_by_the_prediction(make_state, run_stage):
    state = make_state()

    after = run_stage(final_fit(), state)

    assert after.denoised is state.denoised
    np.testing.assert_array_equal(after.denoised, after.prediction)
    assert not np.shares_memory(after.denoised, after.prediction)
