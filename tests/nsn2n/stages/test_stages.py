# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Which stages a run has."""

from __future__ import annotations

import pytest

from nsn2n.modality import Modality, policy_of
from nsn2n.settings import AverageSettings, CubeSettings, EdgeSettings, GroupSettings, RefitSettings, Settings, preset
from nsn2n.stages import stages, stages_without_noise

FIRST = ["neighbor fit", "small structures"]
MEAN = ["guided mean"]
COPY = ["simulated copy", "faint discs"]
TISSUE = ["tissue network"]
DRAFT = ["multislice draft", *MEAN, "mixing"]
SECOND_FIT = ["multislice fit"]
SECOND = [*SECOND_FIT, *COPY, *MEAN, "mixing"]
ONE_FIT = [FIRST[0], *COPY, FIRST[1]]
RECOVERY = ["structures across slices", "small structures at the end"]
GROUPS = ["group filter"]
CUBES = ["cube filter"]
EDGES = ["edge filter"]
LAST = ["bounds", "contrast kept", "structure check"]
RICIAN = ["Rician mean"]
END = ["invalid voxels"]


@pytest.mark.parametrize(
    ("settings", "modality", "expected"),
    [
        (preset("default"), "MR", [*FIRST, *MEAN, *DRAFT, *CUBES, *SECOND, *RECOVERY, *CUBES, *LAST, *RICIAN, *END]),
        (preset("default"), "CT", [*FIRST[:1], *TISSUE, *COPY, *GROUPS, *LAST, *END]),
        (preset("smooth"), "CT", [*ONE_FIT, *MEAN, *RECOVERY, *EDGES, *LAST, *END]),
        (preset("smooth"), "MR", [*FIRST, *MEAN, *DRAFT, *CUBES, *SECOND, *RECOVERY, *CUBES, *LAST, *RICIAN, *END]),
        (preset("default"), "PT", [*FIRST[:1], *TISSUE, *COPY, *GROUPS, *LAST, *END]),
        (preset("smooth"), "PT", [*ONE_FIT, *MEAN, *RECOVERY, *LAST, *END]),
        (preset("default"), None, [*ONE_FIT, *MEAN, *RECOVERY, *LAST, *END]),
        (preset("smooth"), None, [*ONE_FIT, *MEAN, *RECOVERY, *LAST, *END]),
        (preset("fast"), "MR", [*ONE_FIT, *MEAN, *RECOVERY, *LAST, *RICIAN, *END]),
        (preset("fast"), "CT", [*FIRST[:1], *TISSUE, *COPY, *GROUPS, *LAST, *END]),
        (preset("paper"), "MR", [*ONE_FIT, *RECOVERY, *LAST, *END]),
        (preset("paper"), "CT", [*ONE_FIT, *RECOVERY, *LAST, *END]),
        (Settings(groups=GroupSettings(when="never")), "CT", [*ONE_FIT, *RECOVERY, *LAST, *END]),
        (
            Settings(groups=GroupSettings(when="always")),
            None,
            [*FIRST[:1], *TISSUE, *COPY, *MEAN, *GROUPS, *LAST, *END],
        ),
        (
            Settings(refit=RefitSettings(when="always"), edges=EdgeSettings(when="always")),
            None,
            [*FIRST, *MEAN, *DRAFT, *SECOND, *RECOVERY, *EDGES, *LAST, *END],
        ),
        (
            Settings(refit=RefitSettings(renew_at=0)),
            "MR",
            [*FIRST, *MEAN, *SECOND, *RECOVERY, *CUBES, *LAST, *RICIAN, *END],
        ),
        (
            Settings(refit=RefitSettings(renew_at=0.3, steps=3)),
            "MR",
            [*FIRST, *MEAN, *SECOND, *RECOVERY, *CUBES, *LAST, *RICIAN, *END],
        ),
        (
            Settings(average=AverageSettings(when="never")),
            "MR",
            [*FIRST, *DRAFT[::2], *CUBES, *SECOND_FIT, *COPY, "mixing", *RECOVERY, *CUBES, *LAST, *RICIAN, *END],
        ),
        (
            Settings(cubes=CubeSettings(when="never")),
            "MR",
            [*FIRST, *MEAN, *DRAFT, *SECOND, *RECOVERY, *LAST, *RICIAN, *END],
        ),
        (Settings(cubes=CubeSettings(when="always")), None, [*ONE_FIT, *MEAN, *RECOVERY, *CUBES, *LAST, *END]),
        (Settings(strength=0.5), None, [*ONE_FIT, *MEAN, *RECOVERY, *LAST, *END, "blending"]),
    ],
)
def test_the_stages_are_those_that_settings_and_modality_ask_for(settings, modality, expected):
    listed = stages(settings, modality and Modality(modality))

    assert [stage.name for stage in listed] == expected


def test_what_takes_time_says_so():
    everything = Settings(edges=EdgeSettings(when="always"), groups=GroupSettings(when="always"))
    costs = {stage.name: stage.cost for stage in stages(everything, Modality.MR)}

    assert {name for name, cost in costs.items() if cost.fits} == {FIRST[0], DRAFT[0], SECOND[0]}
    take_time = {FIRST[0], DRAFT[0], SECOND[0], *TISSUE, *COPY, *MEAN, *GROUPS, *CUBES, *EDGES, LAST[1]}
    assert {name for name, cost in costs.items() if cost.progress} == take_time
    assert all(bool(cost.progress) == bool(cost.passes) for cost in costs.values())


AUTO = Settings(
    average=AverageSettings(when="auto"),
    groups=GroupSettings(when="auto"),
    cubes=CubeSettings(when="auto"),
    edges=EdgeSettings(when="auto"),
)


@pytest.mark.parametrize("modality", [*Modality, None])
def test_where_settings_say_auto_the_policy_decides(modality):
    names = {stage.name for stage in stages(AUTO, modality)}
    policy = policy_of(modality)

    assert ("guided mean" in names) == policy.guided_mean
    assert ("group filter" in names) == policy.group_filter
    assert ("cube filter" in names) == policy.cube_filter
    assert ("edge filter" in names) == policy.edge_filter
    assert ("multislice fit" in names) == policy.multislice_fit
    assert ("Rician mean" in names) == policy.rician_mean


def test_without_noise_the_volume_is_checked_and_stays():
    assert [stage.name for stage in stages_without_noise()] == [LAST[-1], *END]


@pytest.mark.parametrize(
    ("groups", "modality", "discs"),
    [(GroupSettings(), "CT", True), (GroupSettings(noise_factor=0.5), "CT", False), (GroupSettings(), "MR", False)],
)
def test_what_is_kept_of_discs_is_not_measured_where_no_one_asks_but_they_still_bound_the_filter(
    groups, modality, discs
):
    names = [stage.name for stage in stages(Settings(contrast_kept=False, groups=groups), Modality(modality))]

    assert ("faint discs" in names, "contrast kept" in names) == (discs, False)
