# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.errors import SettingsError
from nsn2n.runtime.sizes import size_in_bytes


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ("8G", 8 << 30),
        ("900M", 900 << 20),
        ("1.5GiB", 3 << 29),
        ("64kb", 64 << 10),
        (" 2 T ", 2 << 40),
        ("4096", 4096),
        ("12B", 12),
        (4096, 4096),
    ],
)
def test_sizes(size, expected):
    assert size_in_bytes(size) == expected


@pytest.mark.parametrize(
    "size", ["", "G", "8X", "-1G", "1,5G", "0", "0.0001", "1e9", "٣G", "99999999T", 0, -1, True, 1.5, None]
)
def test_anything_else_is_refused_in_one_line(size):
    with pytest.raises(SettingsError, match=r"^memory must be a size above 0, such as 8G or 900M; got .*\. ") as caught:
        size_in_bytes(size)
    assert "\n" not in str(caught.value)
