# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.errors import NSN2NError
from nsn2n.runtime.paths import require_possible_path, require_writable_folder


def test_a_folder_that_can_be_made_is_accepted_and_not_made(tmp_path):
    require_writable_folder(tmp_path)
    require_writable_folder(tmp_path / "a" / "b")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("below", ["", "a/b"])
def test_a_file_is_refused(tmp_path, below):
    (tmp_path / "file").touch()

    with pytest.raises(NSN2NError, match="file is a file"):
        require_writable_folder(tmp_path / "file" / below)


def test_a_folder_without_permission_is_refused(tmp_path, bound_by_permissions):
    (tmp_path / "closed").mkdir(mode=0o500)

    with bound_by_permissions(), pytest.raises(NSN2NError, match="closed is not writable"):
        require_writable_folder(tmp_path / "closed" / "new")


@pytest.mark.parametrize("below", ["a" * 300, "new/" + "a" * 300, "ä" * 150, "a" * 300 + "/new", "ab/" * 1500])
def test_what_is_too_long_is_refused(tmp_path, below):
    with pytest.raises(NSN2NError, match=r"^a path must not be longer .* Choose a shorter one\.$"):
        require_possible_path(tmp_path / below)


@pytest.mark.parametrize("below", ["", "a" * 255, "new/" + "a" * 255, "file/" + "a" * 255])
def test_what_fits_is_accepted(tmp_path, below):
    (tmp_path / "file").touch()

    require_possible_path(tmp_path / below)
