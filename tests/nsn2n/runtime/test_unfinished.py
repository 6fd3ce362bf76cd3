# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A folder that is not complete is known as long as it is there, and not left behind."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from nsn2n.errors import NSN2NError
from nsn2n.runtime import unfinished
from nsn2n.runtime.unfinished import hidden_folder, remove_abandoned, unfinished_folders


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


HOLD = """
import sys, time
from pathlib import Path
from nsn2n.errors import NSN2NError
from nsn2n.runtime import unfinished
from nsn2n.runtime.unfinished import hidden_folder
with hidden_folder(Path(sys.argv[1])) as folder:
    (folder / "IM0001.dcm").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def test_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_stays(tmp_path, caplog):
    caplog.set_level("INFO")
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            folder = Path(process.stdout.readline().strip())
            remove_abandoned(tmp_path)
            assert [path.name for path in folder.iterdir()] == ["IM0001.dcm"]
        finally:
            process.kill()
    assert folder.is_dir()

    remove_abandoned(tmp_path)

    assert list(tmp_path.iterdir()) == []
    assert "left over from an interrupted run" in caplog.text


def test_own_folder_and_others_things_are_not_abandoned(tmp_path):
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "1.2.3").mkdir()

    with hidden_folder(tmp_path) as folder:
        remove_abandoned(tmp_path)
        assert folder.is_dir()

    assert sorted(path.name for path in tmp_path.iterdir()) == [".hidden", "1.2.3"]


def test_folder_that_cannot_be_removed_is_no_error(tmp_path, bound_by_permissions):
    (tmp_path / "out" / ".nsn2n-old").mkdir(parents=True)
    (tmp_path / "out").chmod(0o555)

    with bound_by_permissions():
        remove_abandoned(tmp_path / "out")

    assert (tmp_path / "out" / ".nsn2n-old").is_dir()


def test_folder_that_cannot_be_made_is_forgotten(tmp_path, bound_by_permissions):
    (tmp_path / "out").mkdir(mode=0o555)

    with bound_by_permissions(), pytest.raises(PermissionError), hidden_folder(tmp_path / "out"):
        pytest.fail("made")

    assert unfinished_folders() == ()


def test_no_folder_no_error(tmp_path):
    remove_abandoned(tmp_path / "absent")


def test_names_are_chosen_one_after_the_other(tmp_path):
    """A second caller waits until the folder of the first has its name; otherwise both might choose the same."""
    entered, may_go_on, order = threading.Event(), threading.Event(), []

    def first_label():
        entered.set()
        may_go_on.wait(10)
        order.append("first")
        return "first"

    def make(label):
        with hidden_folder(tmp_path, label):
            pass

    first = threading.Thread(target=make, args=(first_label,))
    first.start()
    assert entered.wait(10)
    second = threading.Thread(target=make, args=(lambda: order.append("second") or "second",))
    second.start()
    second.join(0.3)
    may_go_on.set()
    first.join()
    second.join()

    assert order == ["first", "second"]


def test_what_is_no_folder_stays_and_stops_nothing(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    (tmp_path / ".nsn2n-a-file").touch()
    os.mkfifo(tmp_path / ".nsn2n-b-pipe")
    (tmp_path / ".nsn2n-c-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".nsn2n-d-loop").symlink_to(tmp_path / ".nsn2n-d-loop")
    (tmp_path / ".nsn2n-e").mkdir()

    remove_abandoned(tmp_path)
    with hidden_folder(tmp_path) as folder:
        assert folder.is_dir()

    names = {".nsn2n-a-file", ".nsn2n-b-pipe", ".nsn2n-c-link", ".nsn2n-d-loop"}
    assert {path.name for path in tmp_path.iterdir()} == {"elsewhere", *names}
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_one_that_cannot_be_removed_keeps_no_other(tmp_path, monkeypatch):
    for name in ("a", "b"):
        (tmp_path / f".nsn2n-{name}").mkdir()
    remove = unfinished.shutil.rmtree

    def rmtree(path, **options):
        if path.name.endswith("a"):
            raise PermissionError(path)
        remove(path, **options)

    monkeypatch.setattr(unfinished.shutil, "rmtree", rmtree)
    remove_abandoned(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == [".nsn2n-a"]


def make_one(parent):
    with hidden_folder(parent):
        pytest.fail("made")


@pytest.mark.parametrize("call", [remove_abandoned, make_one])
def test_a_folder_that_stays_locked_is_reported_in_one_line(tmp_path, monkeypatch, call):
    monkeypatch.setattr(unfinished, "WAIT_S", 0.2)
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    started = time.monotonic()
    try:
        with pytest.raises(NSN2NError, match=r"must be free for a moment; another .* has held the lock of") as caught:
            call(tmp_path)
    finally:
        os.close(descriptor)
    assert 0.2 <= time.monotonic() - started < 5
    assert "\n" not in str(caught.value)
    assert unfinished_folders() == ()
    assert list(tmp_path.iterdir()) == []


def test_a_file_system_without_locks_is_no_reason_to_wait(tmp_path, monkeypatch):
    def flock(_descriptor, _how):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", flock)
    (tmp_path / ".nsn2n-old").mkdir()
    remove_abandoned(tmp_path)
    with hidden_folder(tmp_path) as folder:
        assert folder.is_dir()
    assert [path.name for path in tmp_path.iterdir()] == [".nsn2n-old"]  # perhaps somebody works on it
