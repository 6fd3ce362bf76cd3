# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import stat

import pytest

from nsn2n.files.file_volume import complete_files


def test_files_appear_together(tmp_path, umask):
    with complete_files(tmp_path, 0o640) as folder:
        for name in ("a.mhd", "b.raw"):
            (folder / name).write_text(name)
        assert not list(tmp_path.glob("[!.]*"))

    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {
        "a.mhd": 0o640,
        "b.raw": 0o640,
    }


def test_an_error_leaves_none(tmp_path):
    def fail():
        with complete_files(tmp_path) as folder:
            (folder / "a.nii").write_text("half")
            raise ValueError("full")

    with pytest.raises(ValueError, match="full"):
        fail()

    assert not list(tmp_path.iterdir())
