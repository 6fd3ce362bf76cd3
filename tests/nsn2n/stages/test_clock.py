# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How far a run is, and how its time is shared out."""

from __future__ import annotations

import math
import time

import pytest

from nsn2n.modality import Modality
from nsn2n.settings import preset
from nsn2n.stages import stages
from nsn2n.stages.clock import Clock, Cost, share_of

FIT, APPLY, MEAN = Cost(progress=2, passes=1, fits=True), Cost(progress=2), Cost(progress=3, passes=2)


def test_the_fraction_done_rises_from_0_to_1_over_the_stages():
    told = []
    costs = [FIT, Cost(), MEAN, APPLY]
    clock = Clock(costs, lambda fraction, seconds_left: told.append((fraction, seconds_left)))

    for index in range(len(costs)):
        for fraction in (0.0, 0.5, 1.0):
            clock.stage(index).progress(fraction)

    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert len(told) == 9  # of a stage of a moment nothing is told
    assert all(seconds_left >= 0 for _, seconds_left in told)
    assert told[-1][1] == 0


def test_without_a_budget_no_fit_has_to_end():
    clock = Clock([FIT]).stage(0)

    assert not clock.limited
    assert clock.deadline(10.0) == math.inf


def test_the_time_that_the_other_stages_need_is_kept_for_them():
    clock = Clock([FIT, MEAN], budget_s=100.0)

    # Applying the network takes 1 pass and the mean 2.
    assert clock.stage(0).limited
    assert clock.stage(0).deadline(20.0) == pytest.approx(clock.started + 100 - 3 * 20, abs=1)
    assert clock.stage(0).deadline(60.0) < time.perf_counter()


def test_fits_share_what_is_left():
    listed = stages(preset("default"), Modality.MR)
    clock = Clock([stage.cost for stage in listed], budget_s=200.0)
    first, draft, last = (index for index, stage in enumerate(listed) if stage.cost.fits)

    # 14 passes: 1, 1.5 and 2.5 for the networks, 2 for each mean, 0.3 for the copy, 0.7 and 1.5 for the cubes, 0.5 for
    # the discs.
    assert clock.stage(first).deadline(10.0) == pytest.approx(clock.started + (200 - 140) / 3, abs=1)
    # 3 of them are behind it when the draft begins, 7.2 when the last one does.
    assert clock.stage(draft).deadline(10.0) == pytest.approx(clock.started + (200 - 110) / 2, abs=1)
    assert clock.stage(last).deadline(10.0) == pytest.approx(clock.started + 200 - 68, abs=1)


def test_a_run_has_the_time_since_it_began():
    began = time.perf_counter() - 50

    assert Clock([FIT], budget_s=100.0, started=began).stage(0).deadline(0.0) == pytest.approx(began + 100, abs=1)


def test_a_part_of_a_stage_tells_its_share():
    told = []

    share_of(told.append, 0.25, 0.75)(0.5)

    assert told == [0.5]


def test_a_run_within_a_run_tells_its_fraction():
    told = []
    clock = Clock([FIT, FIT], lambda fraction, seconds_left: told.append(fraction))

    clock.stage(1).fraction(0.5, 7.0)

    assert told == [0.75]
