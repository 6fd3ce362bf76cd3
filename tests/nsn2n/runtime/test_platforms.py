# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys

import pytest

from nsn2n.app import main as run_application
from nsn2n.errors import NSN2NError
from nsn2n.runtime.platforms import require_linux


def test_linux_is_accepted(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")

    require_linux("nsn2n batch")


@pytest.mark.parametrize("system", ["darwin", "win32"])
def test_other_systems_are_refused_by_name(system, monkeypatch):
    monkeypatch.setattr(sys, "platform", system)

    with pytest.raises(NSN2NError, match=f"^nsn2n batch must run on Linux; this system is {system}. Use nsn2n denoise"):
        require_linux("nsn2n batch")


@pytest.mark.parametrize("arguments", [("batch", "in", "out"), ("node", "--orthanc", "http://127.0.0.1:1"), ("demo",)])
def test_commands_that_need_linux_say_so_in_one_line(arguments, monkeypatch, nsn2n, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "platform", "darwin")

    finished = nsn2n(*arguments)

    assert finished.code == 1
    assert finished.stdout == ""
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith(f"error: nsn2n {arguments[0]}")
    assert "must run on Linux; this system is darwin." in finished.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_application_says_so_too(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "platform", "darwin")

    assert run_application(["-i", str(tmp_path), "-o", str(tmp_path / "out")]) == 1
    assert "error: the application must run on Linux; this system is darwin." in capsys.readouterr().err
