# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The mean and the prediction that guided it are mixed by their share."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nsn2n.stages.mixing import mixing


def test_the_share_is_that_of_the_prediction(make_state, run_stage):
    state = make_state()
    share = state.settings.refit.share

    after = run_stage(mixing(), replace(state, prediction=np.full_like(state.denoised, 110)))

    np.testing.assert_allclose(after.denoised, 100 + 10 * share, rtol=1e-6)
    assert after.prediction is None


def test_without_a_prediction_nothing_changes(make_state, run_stage):
    assert (run_stage(mixing(), make_state()).denoised == 100).all()
