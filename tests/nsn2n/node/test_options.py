# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timezone
from pathlib import Path

import pytest

from nsn2n.errors import SettingsError
from nsn2n.node.options import NodeOptions
from nsn2n.runtime.config_loading import option_of

DOCS = Path(__file__).resolve().parents[3] / "docs" / "node.md"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"orthanc": "localhost:8042"}, "must be an address such as http://localhost:8042; got 'localhost:8042'"),
        ({"orthanc": "ftp://archive"}, "must be an address such as"),
        ({"orthanc": "http://me:secret@archive:8042"}, "without user and password"),
        ({"listen": "8043"}, "must be an address and a port"),
        ({"listen": "127.0.0.1:99999"}, "must be an address and a port"),
        ({"listen": "localhost:8043"}, "must be an address and a port"),
        ({"since": "yesterday"}, "must be a time such as 2026-11-27"),
        ({"metadata_index": 1000}, "must be in 1024..65534; got 1000"),
        ({"tries": 0}, "must be >= 1; got 0"),
        ({"poll_s": 0.0}, "must be >= 0.1"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(given, message):
    with pytest.raises(SettingsError) as refused:
        NodeOptions.from_mapping(given)

    assert message in str(refused.value)
    assert "\n" not in str(refused.value)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("text", ["2026-11-27T08:30", "2026-11-27T09:30+01:00"])
def test_a_time_is_utc_unless_it_says_otherwise(text):
    assert NodeOptions(since=text).since_time() == datetime(2026, 11, 27, 8, 30, tzinfo=timezone.utc)


def test_the_documentation_has_each_option_with_its_default():
    page = DOCS.read_text(encoding="utf-8")
    for entry in fields(NodeOptions):
        option = option_of(entry)
        assert option is not None
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `{option.flag}`")]
        default = (
            ""
            if entry.default in (None, False)
            else f"`{entry.default:g}`"
            if isinstance(entry.default, float)
            else f"`{entry.default}`"
        )
        assert row.split("|")[2].strip() == default
        assert option.help in row
