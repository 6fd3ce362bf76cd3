# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a derived series says of itself fits its attributes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nsn2n.dicom.write.derivation import LARGEST_SERIES_NUMBER, Derivation
from nsn2n.errors import SettingsError


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("description", "", "description must be 1 to 1024 printable ASCII characters; got 0"),
        ("description", "x" * 1025, "description must be 1 to 1024 .* got 1025"),
        ("description", "\u03c3 = 3", "description must be 1 to 1024 printable ASCII"),
        ("description", "a\nb", "description must be 1 to 1024 printable ASCII"),
        ("software_version", "x" * 65, "software_version must be 1 to 64"),
        ("software_version", "1\\2", "must not hold a backslash"),
        ("series_description_suffix", " ", "series_description_suffix must be 1 to 64"),
        ("series_description_suffix", "a\\b", "must not hold a backslash"),
        ("series_number_offset", 0, r"series_number_offset must be in 1\.\.1073741823; got 0"),
        ("series_number_offset", 2**31, "series_number_offset must be in"),
    ],
)
def test_derivation_keeps_the_limits_of_its_attributes(field, value, message):
    with pytest.raises(SettingsError, match=message):
        Derivation(**{"description": "d", "software_version": "1", field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("description", "x" * 1024),
        ("software_version", "x" * 64),
        ("series_description_suffix", "x" * 64),
        ("series_number_offset", LARGEST_SERIES_NUMBER // 2),
    ],
)
def test_what_is_as_long_as_the_attribute_allows_is_taken(field, value):
    made = Derivation(**{"description": "d", "software_version": "1", field: value})
    assert getattr(made, field) == value


@pytest.mark.parametrize(("research_mark", "end", "longest"), [(False, "clean", 64), (True, "clean (research)", 53)])
def test_the_mark_stands_after_the_suffix_and_has_its_room(research_mark, end, longest):
    common = {"description": "d", "software_version": "1", "research_mark": research_mark}

    assert Derivation(series_description_suffix="clean", **common).series_description_end == end

    assert len(Derivation(series_description_suffix="x" * longest, **common).series_description_end) == 64
    with pytest.raises(SettingsError, match=f"series_description_suffix must be 1 to {longest} .* got {longest + 1}"):
        Derivation(series_description_suffix="x" * (longest + 1), **common)


def test_no_pydicom_is_needed():
    code = "import sys; import nsn2n.dicom.write.derivation; print('pydicom' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert result.stdout == "False\n"
