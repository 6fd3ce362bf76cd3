# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import mmap
import os
import tempfile
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from nsn2n.errors import NSN2NError
from nsn2n.runtime import volumes
from nsn2n.runtime.volumes import copied_volume, current_room, in_files, keep_in_files, memory_limit, new_volume

SHAPE = (5, 512, 512)
GIB = 1 << 30


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder for temporary files, empty."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


@pytest.fixture
def files(folder):
    """Within a memory limit that leaves no room for volumes."""
    with memory_limit(GIB):
        keep_in_files(current_room(), 1)
        yield folder


def test_volumes_are_in_memory_unless_it_is_decided_otherwise(folder):
    assert (current_room(), in_files()) == (None, False)
    with memory_limit(GIB):
        assert not in_files()
        assert new_volume(SHAPE, np.float32).base is None


def test_a_volume_in_a_file_is_an_array_like_any_other(files):
    volume = new_volume(SHAPE, np.float32)
    assert isinstance(volume.base, mmap.mmap)
    assert (volume.shape, volume.dtype) == (SHAPE, np.float32)
    assert volume.flags.c_contiguous
    assert volume.flags.writeable
    values = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    volume[...] = values
    copy = copied_volume(volume)
    volume[...] = 0
    np.testing.assert_array_equal(copy, values)
    np.testing.assert_array_equal(copied_volume(copy[:, ::2]), values[:, ::2])


def test_no_file_has_a_name_so_that_none_can_remain(files):
    volume = new_volume(SHAPE, np.float32)
    assert list(files.iterdir()) == []
    volume[...] = 1


def test_the_space_of_a_file_is_reserved(files, monkeypatch):
    reserved, reserve = [], os.posix_fallocate
    monkeypatch.setattr(os, "posix_fallocate", lambda *of: reserved.append(of[1:]) or reserve(*of))
    volume = new_volume(SHAPE, np.float32)
    assert reserved == [(0, volume.nbytes)]


def test_small_arrays_stay_in_memory(files):
    assert new_volume((12, 224, 224), np.float32).base is None


def test_a_limit_ends_with_its_block_and_applies_to_its_thread(folder):
    with memory_limit(GIB):
        keep_in_files(current_room(), 1)
        seen = []
        other = threading.Thread(target=lambda: seen.append(current_room()))
        other.start()
        other.join()
        assert seen == [None]
        with memory_limit(None), memory_limit(GIB):
            assert in_files()
        with memory_limit(2 * GIB):
            assert not in_files()
        assert in_files()
    assert current_room() is None


def test_too_little_space_is_reported_before_work_starts(folder, monkeypatch):
    monkeypatch.setattr(volumes.shutil, "disk_usage", lambda _: SimpleNamespace(free=GIB))
    with memory_limit(GIB), pytest.raises(NSN2NError) as caught:
        keep_in_files(current_room(), 3 * GIB)
    assert str(caught.value) == (
        f"the folder for temporary files, {folder}, must have 3.0 GiB of free space; it has 1.0 GiB. "
        "Free some space, or set TMPDIR to a folder on another disk."
    )
    assert not in_files()


def test_space_that_runs_out_later_is_reported_in_one_line(files, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(NSN2NError, match=r"space for another 0\.00 GiB; got No space left on device\. Free") as caught:
        new_volume(SHAPE, np.float32)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("kind", "refused"), [("tmpfs", True), ("ext4", False)])
def test_a_folder_in_memory_is_refused(folder, monkeypatch, kind, refused):
    mounts = folder / "mounts"
    mounts.write_text(
        f"a / ext4 rw 0 0\nb /proc proc rw 0 0\nc {folder} {kind} rw 0 0\nd {folder}/other tmpfs rw 0 0\n"
    )
    monkeypatch.setattr(volumes, "MOUNTS", mounts)
    with memory_limit(GIB):
        if refused:
            with pytest.raises(NSN2NError, match=rf"{folder}, is in memory \(tmpfs\)\. Set TMPDIR"):
                keep_in_files(current_room(), 1)
        else:
            keep_in_files(current_room(), 1)


def test_where_mounts_are_not_known_any_folder_will_do(folder, monkeypatch):
    monkeypatch.setattr(volumes, "MOUNTS", folder / "none")
    with memory_limit(GIB):
        keep_in_files(current_room(), 1)
        assert in_files()
