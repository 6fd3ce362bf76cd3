# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""New files are open to nobody to whom their sources are closed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from nsn2n.runtime.modes import limit_mode, limit_modes_in, mode_of_all
from nsn2n.runtime.unfinished import hidden_folder


def _file(path, mode):
    path.touch()
    path.chmod(mode)
    return path


def _mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("modes", "mask", "file_mode", "folder_mode"),
    [
        ([0o600, 0o644], 0o022, 0o600, 0o700),
        ([0o644, 0o644], 0o022, 0o644, 0o755),
        ([0o666, 0o777], 0o027, 0o640, 0o750),
        ([0o660, 0o664], 0o002, 0o660, 0o770),
        ([0o604, 0o644], 0o022, 0o604, 0o705),
        ([0o444, 0o444], 0o022, 0o444, 0o755),
        ([0o040, 0o040], 0o022, 0o440, 0o750),
    ],
)
def test_modes_of_files_and_of_their_folder(tmp_path, umask, modes, mask, file_mode, folder_mode):
    sources = [_file(tmp_path / f"source{number}", mode) for number, mode in enumerate(modes)]
    umask(mask)
    with hidden_folder(tmp_path) as folder:
        assert _mode(folder) == 0o700
        (folder / "new").write_text("new")
        limit_modes_in(folder, sources)
        folder.rename(tmp_path / "done")

    assert _mode(tmp_path / "done" / "new") == file_mode
    assert _mode(tmp_path / "done") == folder_mode


def test_bit_of_a_group_folder_stays(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder").chmod(0o2700)

    limit_modes_in(tmp_path / "folder", [_file(tmp_path / "source", 0o640)])

    assert (tmp_path / "folder").stat().st_mode & stat.S_ISGID


def test_source_that_is_gone_counts_as_private(tmp_path):
    assert mode_of_all([_file(tmp_path / "source", 0o644), tmp_path / "gone"]) == 0o600


def test_file_system_without_modes(tmp_path, monkeypatch):
    def refuse(path, mode):
        raise PermissionError(1, "Operation not permitted")

    source, new = _file(tmp_path / "source", 0o600), _file(tmp_path / "new", 0o644)
    monkeypatch.setattr(Path, "chmod", refuse)

    limit_mode(new, mode_of_all([source]))
    limit_modes_in(tmp_path, [source])

    assert _mode(new) == 0o644
