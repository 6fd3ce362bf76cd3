# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that is not complete is known as long as it is there, and not left behind."""

from __future__ import annotations

import pytest

from nsn2n.dicom.unfinished import hidden_folder, unfinished_folders


def test_folder_is_known_and_gone_afterwards(tmp_path):
    with hidden_folder(tmp_path) as folder:
        (folder / "file").write_text("half")
        assert unfinished_folders() == (folder,)
        assert folder.name.startswith(".")

    assert unfinished_folders() == ()
    assert list(tmp_path.iterdir()) == []


def test_renamed_folder_stays(tmp_path):
    with hidden_folder(tmp_path) as folder:
        (folder / "file").write_text("whole")
        folder.rename(tmp_path / "done")

    assert unfinished_folders() == ()
    assert [path.name for path in tmp_path.rglob("*")] == ["done", "file"]


def test_error_leaves_nothing(tmp_path):
    def write_half():
        with hidden_folder(tmp_path) as folder:
            (folder / "file").write_text("half")
            raise ValueError("half")

    with pytest.raises(ValueError, match="half"):
        write_half()

    assert unfinished_folders() == ()
    assert list(tmp_path.iterdir()) == []


def test_relative_folder_is_known_by_its_full_path(tmp_path, monkeypatch):
    """Whoever removes it later may stand elsewhere."""
    monkeypatch.chdir(tmp_path)

    with hidden_folder(tmp_path.relative_to(tmp_path)):
        (folder,) = unfinished_folders()
        assert folder.is_absolute()
