# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings: every field says what it is for, every bound holds, plain values make the round trip, and the presets say
what they promise."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from typing import get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import option_of
from nsn2n.settings import (
    PRESETS,
    AverageSettings,
    CubeSettings,
    EdgeSettings,
    FitSettings,
    GroupSettings,
    LossSettings,
    MatchSettings,
    NetworkSettings,
    RefitSettings,
    Settings,
    StructureSettings,
    preset,
)
from nsn2n.training.fitting import step_count

KINDS = (
    MatchSettings,
    LossSettings,
    NetworkSettings,
    FitSettings,
    AverageSettings,
    GroupSettings,
    CubeSettings,
    EdgeSettings,
    RefitSettings,
    StructureSettings,
    Settings,
)
FIELDS = [
    pytest.param(kind, entry, id=f"{kind.__name__}.{entry.name}")
    for kind in KINDS
    for entry in dataclasses.fields(kind)
    if get_type_hints(kind)[entry.name] not in KINDS
]
"""Every setting that is a plain value, with its class."""
UNITS = {"px": "px", "sd": "sd", "s": "s", "slices": "slices"}
"""Units by the last word of a name."""


def test_every_class_of_settings_is_a_section_of_the_whole():
    sections = [kind for kind in get_type_hints(Settings).values() if dataclasses.is_dataclass(kind)]

    assert (*sections, Settings) == KINDS


@pytest.mark.parametrize(("kind", "entry"), FIELDS)
def test_every_setting_says_what_it_is_for(kind, entry):
    told = option_of(entry)

    assert told is not None
    assert re.fullmatch(r"[A-Z0-9].+\.", told.help)
    assert told.help.isascii()
    assert "  " not in told.help


@pytest.mark.parametrize(("kind", "entry"), FIELDS)
def test_numbers_with_a_unit_name_it(kind, entry):
    unit = option_of(entry).unit

    assert unit in ("", *UNITS.values())
    assert unit == UNITS.get(entry.name.rsplit("_", 1)[-1], unit)
    if unit:
        assert re.fullmatch(r"(int|float)( \| None)?", entry.type)


@pytest.mark.parametrize(("kind", "entry"), FIELDS)
def test_every_number_but_the_seed_has_bounds(kind, entry):
    told = option_of(entry)
    number = bool(re.match("int|float", entry.type)) and entry.name != "seed"

    assert bool(told.bounds or told.choices) == number


@pytest.mark.parametrize(
    ("kind", "name", "refused"),
    [
        (MatchSettings, "smoothing_px", [-0.1, math.nan]),
        (MatchSettings, "threshold_sd", [0.0, -1.0, math.nan]),
        (MatchSettings, "refine_at", [-0.01, 1.01, math.nan]),
        (MatchSettings, "refine_smoothing_px", [-0.1, math.nan]),
        (MatchSettings, "refine_threshold_sd", [0.0, -1.0]),
        (MatchSettings, "tau", [0.0, -0.015, math.nan]),
        (LossSettings, "huber_delta", [0.0, -2.0, math.nan]),
        (LossSettings, "regional_consistency", [-0.5, math.nan]),
        (LossSettings, "interslice_continuity", [-1.0, math.nan]),
        (NetworkSettings, "channels", [0, -1, 513]),
        (NetworkSettings, "levels", [0, 7]),
        (NetworkSettings, "detail_px", [0.0, -3.0, 64.5, math.nan]),
        (FitSettings, "steps", [0, -1]),
        (FitSettings, "pairs_per_step", [0]),
        (FitSettings, "crop_px", [7, 0]),
        (FitSettings, "learning_rate", [0.0, 1.0, -1e-3, math.nan]),
        (FitSettings, "weight_decay", [-1e-9, math.nan]),
        (FitSettings, "gradient_norm", [0.0, -1.0, math.nan]),
        (FitSettings, "stop_gain", [-1e-9, 1.0, math.nan]),
        (AverageSettings, "reach", [-1, 17]),
        (AverageSettings, "step_px", [0, 17]),
        (AverageSettings, "reach_slices", [-1, 5]),
        (AverageSettings, "similarity_sd", [0.0, math.nan]),
        (AverageSettings, "coarse_sd", [0.0, math.nan]),
        (EdgeSettings, "contrast_sd", [0.0, math.nan]),
        (EdgeSettings, "threshold_sd", [-0.1, math.nan]),
        (GroupSettings, "stacks", [0, 33]),
        (GroupSettings, "detail_lost", [-0.1, 1.1, math.nan]),
        (GroupSettings, "noise_factor", [0.0, 4.1, math.nan]),
        (CubeSettings, "cubes", [1, 65]),
        (CubeSettings, "noise_factor", [0.0, 4.1, math.nan]),
        (CubeSettings, "share", [-0.1, 1.1, math.nan]),
        (StructureSettings, "detail_review", [0.0, math.nan]),
        (EdgeSettings, "keep_sd", [0.0, math.nan]),
        (RefitSettings, "steps", [0]),
        (RefitSettings, "renew_at", [-0.1, 1.0, math.nan]),
        (RefitSettings, "learning_rate", [0.0, 1.0, math.nan]),
        (RefitSettings, "slices", [0, 2, 9]),
        (RefitSettings, "crops_per_step", [0]),
        (RefitSettings, "share", [-0.1, 1.1, math.nan]),
        (StructureSettings, "edges_review", [0.0, 0.3, math.nan]),
        (StructureSettings, "excess_fail", [0.0, math.nan]),
        (Settings, "seed", [-1, 2**63, 1.5, None, True]),
        (Settings, "strength", [-0.1, 1.1, math.nan]),
        (Settings, "largest_change_sd", [0.0, -5.0, math.nan]),
        (Settings, "mean_px", [0.0, -6.0, math.nan]),
        (Settings, "excess_sd", [0.0, math.nan]),
        (Settings, "excess_across_sd", [0.0, math.nan]),
        (Settings, "budget_s", [0.0, -1.0, math.nan]),
    ],
)
def test_what_is_out_of_bounds_is_refused(kind, name, refused):
    for value in refused:
        with pytest.raises(SettingsError, match=rf"{name} must be .*; got "):
            kind(**{name: value})


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        (FitSettings, {"crop_px": 3}, "fit.crop_px must be >= 8; got 3. Correct it in the configuration."),
        (FitSettings, {"crop_px": "64"}, "fit.crop_px must be >= 8; got '64'. Correct it in the configuration."),
        (MatchSettings, {"tau": 0}, "match.tau must be > 0; got 0. Correct it in the configuration."),
        (LossSettings, {"huber_delta": 0}, "loss.huber_delta must be > 0; got 0. Correct it in the configuration."),
        (
            NetworkSettings,
            {"detail_px": 65},
            "network.detail_px must be in (0, 64]; got 65. Correct it in the configuration.",
        ),
        (
            AverageSettings,
            {"reach_slices": 5},
            "average.reach_slices must be in 0..4; got 5. Correct it in the configuration.",
        ),
        (EdgeSettings, {"keep_sd": -1}, "edges.keep_sd must be > 0; got -1. Correct it in the configuration."),
        (
            RefitSettings,
            {"slices": 4},
            "refit.slices must be one of 1, 3, 5, 7; got 4. Correct it in the configuration.",
        ),
        (
            RefitSettings,
            {"renew_at": 1},
            "refit.renew_at must be in [0, 1); got 1. Correct it in the configuration.",
        ),
        (
            StructureSettings,
            {"coherence_review": 2.0},
            "structure.coherence_review must be > 0 and <= structure.coherence_fail; got (2.0, 1.5). "
            "Correct it in the configuration.",
        ),
        (Settings, {"strength": 2}, "strength must be in 0..1; got 2. Correct it in the configuration."),
        (Settings, {"strength": True}, "strength must be in 0..1; got True. Correct it in the configuration."),
        (
            Settings,
            {"seed": True},
            "seed must be an integer in 0..2**63-1; got True. Correct it in the configuration.",
        ),
    ],
)
def test_messages_name_the_setting_its_bounds_and_the_value(kind, values, message):
    with pytest.raises(SettingsError) as caught:
        kind(**values)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (MatchSettings, {"smoothing_px": 0.0, "refine_at": 0.0, "refine_smoothing_px": 0.0}),
        (MatchSettings, {"refine_at": 1.0}),
        (LossSettings, {"huber_delta": None, "regional_consistency": 0.0}),
        (NetworkSettings, {"channels": 1, "levels": 1, "detail_px": 64.0}),
        (NetworkSettings, {"channels": 512, "levels": 6}),
        (FitSettings, {"steps": 1, "pairs_per_step": 1, "crop_px": 8, "weight_decay": 0.0, "gradient_norm": None}),
        (FitSettings, {"steps": None, "epochs": 1}),
        (FitSettings, {"stop_gain": None}),
        (FitSettings, {"stop_gain": 0.0}),
        (AverageSettings, {"reach": 16, "step_px": 16, "reach_slices": 4}),
        (AverageSettings, {"reach": 1, "step_px": 1, "reach_slices": 0}),
        (AverageSettings, {"reach": None, "step_px": None}),
        (EdgeSettings, {"threshold_sd": 0.0}),
        (GroupSettings, {"stacks": 1, "detail_lost": 0.0, "noise_factor": None}),
        (CubeSettings, {"cubes": 2, "noise_factor": 4.0, "share": 0.0}),
        (CubeSettings, {"cubes": 64, "share": 1.0}),
        (RefitSettings, {"steps": 1, "renew_at": 0.0, "slices": 1, "crops_per_step": 1, "share": 0.0}),
        (RefitSettings, {"slices": 7, "share": 1.0}),
        (StructureSettings, {"edges_review": 0.2, "excess_review": 8.0, "coherence_review": 1.5}),
        (Settings, {"seed": 2**63 - 1, "largest_change_sd": None, "mean_px": None}),
        (Settings, {"excess_sd": None, "excess_across_sd": None, "budget_s": None, "strength": 0.0}),
        (Settings, {"strength": 1.0}),
    ],
)
def test_the_bounds_themselves_are_taken(kind, values):
    made = kind(**values)

    assert {name: getattr(made, name) for name in values} == values


def test_steps_or_epochs_but_not_both():
    with pytest.raises(SettingsError, match=r"only one of fit\.steps and fit\.epochs may be set; got \(10, 10\)"):
        FitSettings(steps=10, epochs=10)
    with pytest.raises(SettingsError, match=r"fit\.epochs must be >= 1; got 0"):
        FitSettings(steps=None, epochs=0)


def test_settings_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        preset("default").seed = 3


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"sead": 1}, "'sead' is unknown. Did you mean 'seed'"),
        ({"fit": {"step": 1}}, r"'fit\.step' is unknown. Did you mean 'fit\.steps'"),
        ({"network": {"channel": 8}}, r"Did you mean 'network\.channels'"),
        ({"match": {"treshold_sd": 8}}, r"Did you mean 'match\.threshold_sd'"),
        ({3: 1}, "'3' is unknown"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(mapping, message):
    with pytest.raises(SettingsError, match=message):
        Settings.from_mapping(mapping)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"seed": "3"}, "'seed' must be of type int; got '3'"),
        ({"seed": 3.0}, "'seed' must be of type int"),
        ({"seed": True}, "'seed' must be of type int; got True"),
        ({"seed": None}, "'seed' must be of type int; got None"),
        ({"fit": {"steps": 10.5}}, r"'fit\.steps' must be of type int or null"),
        ({"fit": {"flips": 1}}, r"'fit\.flips' must be of type bool; got 1"),
        ({"fit": {"learning_rate": True}}, r"'fit\.learning_rate' must be of type float"),
        ({"fit": {"learning_rate": math.inf}}, r"'fit\.learning_rate' must be finite; got inf"),
        ({"match": {"smoothing_px": math.inf}}, r"'match\.smoothing_px' must be finite"),
        ({"match": {"rule": "nose"}}, r"'match\.rule' must be one of noise, lowpass; got 'nose'"),
        ({"match": {"rule": ["noise"]}}, r"'match\.rule' must be one of"),
        ({"average": {"coarse": "ct"}}, r"'average\.coarse' must be one of auto, always, never; got 'ct'"),
        ({"edges": {"when": "ct"}}, r"'edges\.when' must be one of auto, always, never; got 'ct'"),
        ({"refit": {"when": "mr"}}, r"'refit\.when' must be one of auto, always, never; got 'mr'"),
        ({"network": "unet"}, "'network' must be a mapping; got 'unet'"),
        ({"network": None}, "'network' must be a mapping; got None"),
        ({"preset": "best"}, "preset must be one of default, smooth, fast, paper; got 'best'"),
        ({"preset": ["fast"]}, r"preset must be one of .*; got \['fast'\]"),
        ({"preset": None}, "preset must be one of"),
        ([("seed", 1)], "must be a mapping of settings; got list"),
        (None, "must be a mapping of settings; got NoneType"),
    ],
)
def test_a_wrong_type_is_refused_with_the_name_of_the_setting(mapping, message):
    with pytest.raises(SettingsError, match=message):
        Settings.from_mapping(mapping)


def test_bounds_hold_for_mappings_too():
    with pytest.raises(SettingsError, match=r"network\.levels must be in 1\.\.6; got 0"):
        Settings.from_mapping({"network": {"levels": 0}})


def test_what_is_absent_stays_as_in_the_preset():
    changed = Settings.from_mapping({"preset": "fast", "seed": 7, "fit": {"crop_px": 32}})

    fast = preset("fast")
    assert changed == dataclasses.replace(fast, seed=7, fit=dataclasses.replace(fast.fit, crop_px=32))


def test_a_base_is_the_start():
    base = Settings(seed=5, network=NetworkSettings(channels=3))

    assert Settings.from_mapping({}, base) == base
    assert Settings.from_mapping({"network": {"levels": 2}}, base).network == NetworkSettings(channels=3, levels=2)


def test_whole_numbers_serve_as_floats():
    value = Settings.from_mapping({"mean_px": 4}).mean_px

    assert value == 4.0
    assert isinstance(value, float)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_make_the_round_trip_through_json(name):
    settings = preset(name)

    assert settings.preset == name
    assert Settings.from_mapping(json.loads(json.dumps(settings.to_mapping()))) == settings


@given(
    seed=st.integers(0, 2**63 - 1),
    largest_change_sd=st.none() | st.floats(1e-6, 1e6),
    refine_at=st.floats(0, 1),
    kind=st.sampled_from(["residual-unet", "unet"]),
    channels=st.integers(1, 512),
    length=st.tuples(st.integers(1, 10**6), st.none()) | st.tuples(st.none(), st.integers(1, 10**6)),
    learning_rate=st.floats(0, 1, exclude_min=True, exclude_max=True),
    flips=st.booleans(),
)
def test_any_settings_make_the_round_trip(
    seed, largest_change_sd, refine_at, kind, channels, length, learning_rate, flips
):
    mapping = {
        "seed": seed,
        "largest_change_sd": largest_change_sd,
        "match": {"refine_at": refine_at},
        "network": {"kind": kind, "channels": channels},
        "fit": {"steps": length[0], "epochs": length[1], "learning_rate": learning_rate, "flips": flips},
    }

    settings = Settings.from_mapping(mapping)

    plain = settings.to_mapping()
    for key, value in mapping.items():
        found = {name: plain[key][name] for name in value} if isinstance(value, dict) else plain[key]
        assert found == value
    assert Settings.from_mapping(json.loads(json.dumps(plain))) == settings


def test_the_paper_preset_is_what_the_papers_report():
    paper = preset("paper")

    assert paper.match.rule == "lowpass"
    assert paper.match.tau == 0.015
    assert paper.match.refine_at == 1
    assert paper.loss == LossSettings(
        units="range", huber_delta=None, regional_consistency=0.5, interslice_continuity=1.0
    )
    assert paper.network.kind == "unet"
    assert paper.fit.learning_rate == 2e-4
    assert paper.fit.weight_decay == 1e-5
    assert paper.fit.schedule == "constant"
    assert paper.fit.crop_px == 256
    assert paper.fit.pairs_per_step == 4
    assert (paper.fit.steps, paper.fit.epochs) == (None, 10)
    assert paper.largest_change_sd is None
    assert paper.mean_px is None


def test_fast_is_less_work_than_the_default():
    fast, default = preset("fast"), preset("default")

    assert fast.fit.steps < step_count(default.fit, pairs=20)
    assert (fast.refit.when, default.refit.when) == ("never", "auto")


def test_by_default_the_modality_decides_what_follows_the_fit():
    default = preset("default")

    assert (default.average.when, default.average.coarse, default.groups.when, default.refit.when) == 4 * ("auto",)


def test_an_unknown_preset_is_refused():
    with pytest.raises(SettingsError, match="preset must be one of default, smooth, fast, paper; got 'slow'"):
        preset("slow")
