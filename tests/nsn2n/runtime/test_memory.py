# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import resource
import subprocess
import sys

import numpy as np
import pytest
import torch

from nsn2n.errors import NSN2NError
from nsn2n.runtime import memory
from nsn2n.runtime.memory import available_bytes, find_room, memory_errors
from nsn2n.runtime.volumes import in_files, memory_limit

GIB = 1 << 30


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.empty(2**60, np.uint8),
        lambda: torch.empty(2**60, dtype=torch.uint8),
        lambda: bytearray(2**60),
    ],
    ids=["NumPy", "PyTorch", "Python"],
)
def test_what_is_not_there_is_reported_in_one_line(ask):
    message = r"enough memory for a whole volume; it ran out \[CT series 2\]"
    with pytest.raises(NSN2NError, match=message) as caught, memory_errors("CT series 2"):
        ask()

    assert "\n" not in str(caught.value)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), memory_errors("CT series 2"):
        raise RuntimeError("something else")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """Write the files of a system, and look there: a machine with 8 GiB left, and what is named below."""
    monkeypatch.setattr(memory, "PROC", tmp_path / "proc")
    monkeypatch.setattr(memory, "CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(resource, "getrlimit", lambda _which: (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def write(**files):
        files = {"proc/meminfo": f"MemTotal: 99 kB\nMemAvailable:  {8 * GIB // 1024} kB\n", **files}
        for name, content in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)

    return write


def group(folder, limit, usage, cached=0, *, v1=False):
    """Files of one control group."""
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if v1 else ("memory.max", "memory.current")
    prefix = "total_" if v1 else ""
    stat = f"anon 5\n{prefix}inactive_file {cached // 2}\n{prefix}active_file {cached - cached // 2}\nactive_file 1\n"
    if not v1:
        stat = stat.removesuffix("active_file 1\n")
    return {
        f"{folder}/{names[0]}": f"{limit}\n",
        f"{folder}/{names[1]}": f"{usage}\n",
        f"{folder}/memory.stat": stat,
    }


def test_without_bounds_it_is_what_the_machine_has(system):
    system(**{"proc/self/cgroup": "0::/\n"}, **group("cgroup", "max", GIB))
    assert available_bytes() == 8 * GIB


@pytest.mark.parametrize("path", ["/", "/one/two", "/not/seen/from/here"])
def test_a_control_group_bounds_it_and_cached_files_count_as_free(system, path):
    inner = "cgroup/one/two" if path == "/one/two" else "cgroup"
    system(**{"proc/self/cgroup": f"0::{path}\n"}, **group(inner, 4 * GIB, 3 * GIB, 2 * GIB))
    assert available_bytes() == 3 * GIB


def test_the_group_around_a_group_counts_too(system):
    system(
        **{"proc/self/cgroup": "0::/pod/box\n"},
        **group("cgroup/pod/box", "max", GIB),
        **group("cgroup/pod", 2 * GIB, GIB),
    )
    assert available_bytes() == GIB


def test_control_groups_of_version_1(system):
    system(
        **{"proc/self/cgroup": "5:cpu,cpuacct:/box\n4:memory:/box\n0::/\n"},
        **group("cgroup/memory/box", 3 * GIB, 2 * GIB, GIB, v1=True),
        **group("cgroup/memory", (1 << 63) - 4096, 2 * GIB, v1=True),
    )
    assert available_bytes() == 2 * GIB


def test_more_in_use_than_is_allowed_leaves_nothing(system):
    system(**{"proc/self/cgroup": "0::/\n"}, **group("cgroup", GIB, 2 * GIB))
    assert available_bytes() == 0


def test_where_nothing_is_known_nothing_is_refused(system):
    assert available_bytes() is None
    assert find_room(1 << 60) is None


def test_the_address_space_bounds_it():
    code = (
        "import resource\nfrom nsn2n.runtime.memory import available_bytes\n"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))\nprint(available_bytes())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert GIB // 2 < int(done.stdout) < GIB


def test_what_a_volume_needs(monkeypatch):
    whole = 40 << 20
    monkeypatch.setattr(memory, "available_bytes", lambda: GIB)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    assert find_room(whole).found == "need 1.1 GiB, 1.0 GiB are available"
    assert find_room(whole // 4) is None
    assert find_room(whole // 4, beside=GIB) is not None
    assert find_room(whole, whole // 10) is None  # in ten parts, one of which is denoised at a time
    monkeypatch.delitem(sys.modules, "torch")
    assert find_room(whole).found == "need 1.3 GiB, 1.0 GiB are available"
    for cpus in (4, 64):  # no more threads than four hold parts of their own
        monkeypatch.setattr(memory, "usable_cpus", lambda cpus=cpus: cpus)
        assert find_room(whole).found == "need 1.5 GiB, 1.0 GiB are available"


@pytest.mark.parametrize(
    ("available", "advice"),
    [
        (
            GIB,
            "Keep the volume in temporary files (--memory 1024M), or use a machine with more memory, or fewer slices.",
        ),
        (100 << 20, "Use a machine with more memory, or fewer slices."),
    ],
)
def test_who_set_no_limit_is_told_of_it_if_it_helps(monkeypatch, available, advice):
    monkeypatch.setattr(memory, "available_bytes", lambda: available)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    assert find_room(100 << 20).advice == advice
    assert not in_files()


def test_with_a_limit_the_volume_is_kept_in_files_if_it_needs_more(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: GIB)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    with memory_limit(GIB):
        assert find_room(100 << 20) is None
        assert in_files()
        assert find_room(1 << 20) is None  # of the same series: decided once
        assert in_files()
    with memory_limit(GIB):
        assert find_room(1 << 20) is None
        assert not in_files()
        assert find_room(100 << 20) is None
        assert not in_files()


def test_a_limit_below_what_any_volume_needs_is_refused(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 100 << 20)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    with memory_limit(GIB):
        shortage = find_room(1 << 30)
        assert shortage == (
            "need 0.9 GiB even if volumes are kept in files, 0.1 GiB are available",
            "Raise the memory limit (--memory), now 1.0 GiB, or end other programs.",
        )
        assert not in_files()


def test_large_slices_need_more_memory_even_if_volumes_are_kept_in_files(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 500 << 20)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    with memory_limit(GIB):
        assert find_room(40 << 20, of_slice=2048 * 2048).found.startswith("need 1.1 GiB even if volumes are kept")
        assert find_room(40 << 20, of_slice=512 * 512) is None
        assert in_files()


def test_files_that_are_mapped_into_memory_need_address_space(monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: GIB)
    monkeypatch.setattr(memory, "usable_cpus", lambda: 1)
    monkeypatch.setattr(memory, "_of_address_space", lambda: 2 * GIB)
    with memory_limit(GIB):
        assert find_room(100 << 20).found == "need 3.5 GiB of address space, 2.0 GiB are left"
        assert not in_files()


def test_a_limit_leaves_what_the_process_does_not_hold_yet(system):
    system(**{"proc/self/status": f"Name:\tpython\nRssAnon:\t{GIB // 1024} kB\nRssFile:\t999999 kB\n"})
    with memory_limit(3 * GIB):
        assert available_bytes() == 2 * GIB
    with memory_limit(99 * GIB):
        assert available_bytes() == 8 * GIB
    with memory_limit(GIB // 2):
        assert available_bytes() == 0


def test_a_limit_applies_also_where_the_process_is_not_known(system, tmp_path):
    with memory_limit(GIB):
        assert available_bytes() == GIB - memory.PROCESS_BYTES


@pytest.mark.parametrize(("available", "parts"), [(None, 4), (100 << 20, 4), (4 << 30, 4 + 14)])
def test_more_threads_compute_parts_where_there_is_memory(monkeypatch, available, parts):
    monkeypatch.setattr(memory, "available_bytes", lambda: available)

    assert memory.parts_at_once() == parts
