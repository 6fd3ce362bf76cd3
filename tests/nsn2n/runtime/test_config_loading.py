# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Plain values become settings of the right type, or are refused by name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import pytest

from nsn2n.errors import SettingsError
from nsn2n.runtime.config_loading import updated_from


@dataclass(frozen=True)
class Inner:
    share: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True)
class Outer:
    count: int | None = 3
    inner: Inner = field(default_factory=Inner)


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
