# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The page of the documentation is that of the fields."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.options_table import options_page
from nsn2n.runtime.config_loading import option_of

PAGE = Path(__file__).resolve().parents[3] / "docs" / "options.md"


def test_the_page_is_current():
    assert PAGE.read_text(encoding="utf-8") == options_page(), "run make options"


def test_every_option_is_in_the_table_with_its_help():
    page = options_page()

    for entry in fields(JobOptions):
        option = option_of(entry)
        (row,) = [line for line in page.splitlines() if option.help in line]
        assert (f"| `{entry.name}` |" in row) == option.in_app_yaml
        assert not option.flag or option.flag.removeprefix("--") in row


def test_settings_are_listed_by_their_path_with_bounds_and_units():
    page = options_page()

    assert "| `seed` | `0` |" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| `fit.crop_px` |")]
    assert "(>= 8 px)" in row
    assert "| `groups.when` | `auto` |" in page
