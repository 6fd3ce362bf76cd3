# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a run: which there are, how far it is, and how its time is shared out."""

from __future__ import annotations

import math
import time

import pytest

from nsn2n.settings import AverageSettings, EdgeSettings, RefitSettings, Settings, preset
from nsn2n.stages import Clock, stages_of

MR = ["fit", "apply", "average", "draft", "average draft", "refit", "average again"]
ALL = [*MR, "edges"]


@pytest.mark.parametrize(
    ("settings", "modality", "stages"),
    [
        (preset("default"), "MR", MR),
        (preset("default"), "CT", [*ALL[:3], "edges"]),
        (preset("default"), None, ALL[:3]),
        (preset("fast"), "MR", ALL[:3]),
        (preset("paper"), "MR", ALL[:2]),
        (preset("paper"), "CT", ALL[:2]),
        (Settings(edges=EdgeSettings(when="never")), "CT", ALL[:3]),
        (Settings(refit=RefitSettings(when="always"), edges=EdgeSettings(when="always")), "PT", ALL),
        (Settings(refit=RefitSettings(renew_at=0)), "MR", [*MR[:3], *MR[5:]]),
        (Settings(refit=RefitSettings(renew_at=0.3, steps=3)), "MR", [*MR[:3], *MR[5:]]),
        (Settings(average=AverageSettings(reach=0)), "MR", ["fit", "apply", "draft", "refit"]),
    ],
)
def test_the_stages_are_those_that_the_settings_ask_for(settings, modality, stages):
    assert stages_of(settings, modality) == stages


def test_the_fraction_done_rises_from_0_to_1_over_the_stages():
    told = []
    clock = Clock(ALL, lambda fraction, seconds_left: told.append((fraction, seconds_left)))

    for stage in ALL:
        for fraction in (0.0, 0.5, 1.0):
            clock.stage(stage)(fraction)

    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0.0, 1.0)
    assert all(seconds_left >= 0 for _, seconds_left in told)
    assert told[-1][1] == 0


def test_without_a_budget_no_fit_has_to_end():
    clock = Clock(ALL)

    assert not clock.limited
    assert clock.deadline("fit", 10.0) == math.inf


def test_the_time_that_the_other_stages_need_is_kept_for_them():
    clock = Clock(["fit", "apply", "average"], budget_s=100.0)

    # Applying takes 1 pass and the mean 2.
    assert clock.limited
    assert clock.deadline("fit", 20.0) == pytest.approx(clock.started + 100 - 3 * 20, abs=1)
    assert clock.deadline("fit", 60.0) < time.perf_counter()


def test_fits_share_what_is_left():
    clock = Clock(MR, budget_s=200.0)

    # 11 passes: 1, 1.5 and 2.5 for the networks, 2 for each mean.
    assert clock.deadline("fit", 10.0) == pytest.approx(clock.started + (200 - 110) / 3, abs=1)
    # 3 of them are behind it when the draft begins, and 6.5 when the last one does.
    assert clock.deadline("draft", 10.0) == pytest.approx(clock.started + (200 - 80) / 2, abs=1)
    assert clock.deadline("refit", 10.0) == pytest.approx(clock.started + 200 - 45, abs=1)
