# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fields say what they are, and plain values become settings of the right type and within bounds, or are refused by
name."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import (
    Option,
    check_bounds,
    check_depth,
    known_key,
    option,
    option_of,
    read_yaml,
    shown,
    updated_from,
)


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    count: int | None = 3
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Files:
    folder: Path = Path("out")
    rules: Path | None = None
    names: tuple[str, ...] = ()
    tags: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Bounded:
    share: float = option(0.5, "A share.", at_least=0, at_most=1)
    limit_s: float | None = option(None, "A limit.", unit="s", above=0)
    slices: int = option(5, "Odd.", unit="slices", choices=(1, 3, 5))
    kind: str = option("a", "A kind.", choices=("a", "b"))
    free: str = option("", "Anything.")
    names: tuple[str, ...] = option(default_factory=tuple, help="Names.")
    plain: float = -1.0

    def __post_init__(self) -> None:
        check_bounds(self, "inner.")


LIMITS = st.none() | st.floats(-5, 5)


def test_what_is_absent_stays():
    assert updated_from(Outer(), {"inner": {"share": 1}}) == Outer(inner=Inner(share=1.0))
    assert updated_from(Outer(), {"count": None}) == Outer(count=None)
    assert updated_from(Outer(), {}) == Outer()


def test_a_whole_number_becomes_a_float_where_one_is_asked_for():
    assert isinstance(updated_from(Inner(), {"share": 1}).share, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"inner": {"shar": 1}}, r"'inner\.shar' is unknown. Did you mean 'inner\.share'\? Known: share, kind"),
        ({"inner": 1}, "'inner' must be a mapping; got 1"),
        ({"inner": {"kind": "c"}}, r"'inner\.kind' must be one of a, b; got 'c'"),
        ({"count": 1.5}, r"'count' must be of type int or null; got 1\.5"),
        ({"count": True}, "'count' must be of type int or null; got True"),
        ({"inner": {"share": float("inf")}}, r"'inner\.share' must be finite; got inf"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(mapping, message):
    with pytest.raises(SettingsError, match=message):
        updated_from(Outer(), mapping)


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        ({"folder": "a/b"}, Files(folder=Path("a/b"))),
        ({"folder": Path("a/b")}, Files(folder=Path("a/b"))),
        ({"rules": "rules.yaml"}, Files(rules=Path("rules.yaml"))),
        ({"rules": None}, Files()),
        ({"names": ["a", "b"]}, Files(names=("a", "b"))),
        ({"names": ("a",)}, Files(names=("a",))),
        ({"names": []}, Files(names=())),
        ({"tags": ["a"]}, Files(tags=("a",))),
        ({"tags": None}, Files()),
    ],
)
def test_texts_become_paths_and_lists_of_them_tuples(mapping, expected):
    assert updated_from(Files(), mapping) == expected


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({"folder": 3}, "'folder' must be of type str; got 3"),
        ({"folder": None}, "'folder' must be of type str; got None"),
        ({"rules": ["a"]}, r"'rules' must be of type str or null; got \['a'\]"),
        ({"names": "a"}, "'names' must be of type list; got 'a'"),
        ({"names": None}, "'names' must be of type list; got None"),
        ({"names": [1.2]}, r"'names' must be a list of quoted strings; got \[1\.2\]"),
        ({"tags": {"a": 1}}, "'tags' must be of type list or null"),
    ],
)
def test_what_is_no_path_or_list_of_texts_is_refused(mapping, message):
    with pytest.raises(SettingsError, match=message):
        updated_from(Files(), mapping)


def test_an_option_is_a_field_that_carries_what_it_says_of_itself():
    told = {entry.name: option_of(entry) for entry in fields(Bounded)}

    assert told["share"] == Option(help="A share.", at_least=0, at_most=1)
    assert told["limit_s"] == Option(help="A limit.", unit="s", above=0)
    assert told["names"] == Option(help="Names.")
    assert told["plain"] is None
    assert (Bounded().share, Bounded().limit_s, Bounded().names) == (0.5, None, ())


def test_an_option_without_a_default_must_be_given():
    @dataclass
    class Needed:
        share: float = option(help="A share.")

    with pytest.raises(TypeError, match="share"):
        Needed()
    assert Needed(0.5).share == 0.5


def test_metadata_of_another_kind_is_no_option():
    @dataclass
    class Other:
        share: float = field(default=0.5, metadata={"option": "a share"})

    assert option_of(fields(Other)[0]) is None


@pytest.mark.parametrize(
    ("limits", "text"),
    [
        ({}, ""),
        ({"at_least": 0}, ">= 0"),
        ({"above": 0}, "> 0"),
        ({"at_most": 8}, "<= 8"),
        ({"below": 0.5}, "< 0.5"),
        ({"at_least": 0, "at_most": 1}, "in 0..1"),
        ({"at_least": 0, "at_most": 1_000_000_007}, "in 0..1000000007"),
        ({"above": 0, "at_most": 64}, "in (0, 64]"),
        ({"at_least": 0, "below": 1}, "in [0, 1)"),
        ({"above": 0, "below": 1}, "in (0, 1)"),
    ],
)
def test_bounds_as_text(limits, text):
    assert Option(help="A number.", **limits).bounds == text


@given(at_least=LIMITS, above=LIMITS, at_most=LIMITS, below=LIMITS, value=st.floats(-6, 6))
def test_a_number_is_allowed_if_it_breaks_no_bound(at_least, above, at_most, below, value):
    told = Option(help="A number.", at_least=at_least, above=above, at_most=at_most, below=below)

    broken = [
        at_least is not None and value < at_least,
        above is not None and value <= above,
        at_most is not None and value > at_most,
        below is not None and value >= below,
    ]
    assert told.allows(value) == (not any(broken))


def test_what_is_not_a_number_is_within_no_bounds():
    assert Option(help="A number.").allows(math.nan)
    assert not Option(help="A number.", at_least=0).allows(math.nan)
    assert not Option(help="A number.", below=0).allows(math.nan)


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"share": 1.5}, "share must be in 0..1; got 1.5"),
        ({"share": math.nan}, "share must be in 0..1; got nan"),
        ({"share": True}, "share must be in 0..1; got True"),
        ({"share": "0.5"}, "share must be in 0..1; got '0.5'"),
        ({"limit_s": 0}, "limit_s must be > 0; got 0"),
        ({"slices": 2}, "slices must be one of 1, 3, 5; got 2"),
        ({"kind": "c"}, "kind must be one of a, b; got 'c'"),
        ({"share": -1, "slices": 2}, "share must be in 0..1; got -1"),
    ],
)
def test_the_first_field_out_of_bounds_is_named(values, rule):
    with pytest.raises(SettingsError) as caught:
        Bounded(**values)

    assert str(caught.value) == f"inner.{rule}. Correct it in the configuration."


@pytest.mark.parametrize(
    "values",
    [
        {"share": 0, "limit_s": 1e-9, "slices": 1, "kind": "b"},
        {"share": 1.0, "limit_s": None, "slices": 5},
        {"share": None, "slices": None, "kind": None},
        {"free": "anything", "plain": -9.0},
    ],
)
def test_what_is_within_bounds_or_has_none_is_taken(values):
    made = Bounded(**values)

    assert {name: getattr(made, name) for name in values} == values


def test_bounds_hold_for_updates_too():
    with pytest.raises(SettingsError, match=r"inner\.share must be in 0\.\.1; got 2\.0"):
        updated_from(Bounded(), {"share": 2})


def test_a_known_key_is_returned():
    assert known_key("seed", ["seed", "strength"], "Setting") == "seed"


@pytest.mark.parametrize(
    ("key", "prefix", "message"),
    [
        ("sead", "", "Key 'sead' is unknown. Did you mean 'seed'? Known: seed, strength."),
        ("strenght", "fit.", "Key 'fit.strenght' is unknown. Did you mean 'fit.strength'? Known: seed, strength."),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(key, prefix, message):
    with pytest.raises(SettingsError) as caught:
        known_key(key, ["seed", "strength"], "Key", prefix)

    assert str(caught.value) == message


@pytest.mark.parametrize("key", [3, None, ""])
def test_a_key_like_none_that_is_known_is_refused_too(key):
    with pytest.raises(SettingsError, match=rf"Key '{key}' is unknown\. Did you mean '(seed|strength)'\?"):
        known_key(key, ["seed", "strength"], "Key")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fit: {steps: 5}\nseed: 1\n", {"fit": {"steps": 5}, "seed": 1}),
        ('{"fit": {"steps": 5}, "strength": null}', {"fit": {"steps": 5}, "strength": None}),
        ("name: S\u00e4ge", {"name": "S\u00e4ge"}),
        ("# nothing\n", None),
        ("", None),
    ],
)
def test_yaml_and_json_are_read(tmp_path, text, expected):
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")

    assert read_yaml(file, "--config") == expected
    assert read_yaml(str(file), "--config") == expected


@pytest.mark.parametrize(
    "content",
    [b"fit: [1, 2", b"\xff\xfe\x00", b"!!python/object:os.system {}", None],
    ids=["yaml", "utf", "tag", "none"],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, content):
    file = tmp_path / "settings.yaml"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=r"^--config must be a readable YAML or JSON file; got .+ at .+") as caught:
        read_yaml(file, "--config")
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(f" at {file}. Correct it.")


def _aliases(levels):
    """Each level holds the one before nine times: what is read grows ninefold with each line."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]" for level in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_aliases(12), "more than 10000 values"),
        ("fit: &f\n  steps: *f\n", "more than 10000 values"),
        ("a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 99)), "more than 32 levels"),
        ("fit: *f\n", "found undefined alias"),
        ("[" * 5000, "more than 32 levels"),
        ('{"a":' * 5000, "more than 32 levels"),
        ("".join(f"{' ' * depth}a:\n" for depth in range(300)), "more than 32 levels"),
        ("seed: " + "7" * 6000, "a number of 6000 characters"),
        ("seed: 0x" + "f" * 6000, "a number of 6002 characters"),
        ("strength: 0." + "3" * 6000, "a number of 6002 characters"),
        ("seed: !!int ''", "that does not fit its type"),
        ("seed: !!int many", "invalid literal"),
        ("force: !!bool perhaps", "that does not fit its type"),
        ("seed: !!timestamp 2024-01-01", "could not determine a constructor"),
        ("a: 1\n" * 50_000, "more than 131072 bytes"),
    ],
)
def test_what_would_grow_or_cannot_be_is_refused_at_once(tmp_path, text, said):
    file = tmp_path / "settings.yaml"
    file.write_text(text)
    started = time.monotonic()

    with pytest.raises(SettingsError, match=rf"^--config must be a readable YAML or JSON file; got .*{said}") as caught:
        read_yaml(file, "--config")

    assert time.monotonic() - started < 5
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500 + len(str(file))


@pytest.mark.parametrize("date", ["2024-02-30", "2024-13-45 99:99:99", "2024-02-28"])
def test_dates_are_texts_whether_they_exist_or_not(tmp_path, date):
    file = tmp_path / "settings.yaml"
    file.write_text(f"series_description_suffix: {date}\n")
    assert read_yaml(file, "--config") == {"series_description_suffix": date}


def test_a_few_aliases_are_what_they_stand_for(tmp_path):
    file = tmp_path / "app.yaml"
    file.write_text("input: &formats\n- {format: series}\noutput: *formats\nfit: {<<: {steps: 5}}\n")
    assert read_yaml(file, "app.yaml") == {
        "input": [{"format": "series"}],
        "output": [{"format": "series"}],
        "fit": {"steps": 5},
    }


def test_the_deepest_that_is_allowed_is_read(tmp_path):
    file = tmp_path / "settings.json"
    file.write_text("[" * 31 + "1" + "]" * 31)
    value = read_yaml(file, "--config")
    check_depth(value)
    with pytest.raises(ValueError, match="more than 32 levels"):
        check_depth([[value]])


def test_of_a_long_value_the_beginning_is_shown():
    assert shown("ab") == "'ab'"
    assert shown([1] * 1000) == f"{str([1] * 1000)[:200]}..."
