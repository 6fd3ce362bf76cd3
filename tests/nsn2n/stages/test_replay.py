# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import replace

from nsn2n.stages.clock import Cost
from nsn2n.stages.replay import replayed
from nsn2n.stages.state import Stage


def test_stages_follow_each_other(make_state):
    def times(factor):
        def run(state, clock):
            clock.progress(0.5)
            return replace(state, denoised=state.denoised * factor + 1)

        return Stage(f"times {factor}", run, Cost(progress=1.0))

    assert (replayed(make_state(), [times(2), times(3)]).denoised == 604).all()
