# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Processors that a process may use."""

from __future__ import annotations

import os
import threading
import time

import pytest
import torch

from nsn2n.runtime.cpus import KeptThreads, for_each_slice, in_order, usable_cpus, with_threads

AFFINITY = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("content", "cpus"),
    [
        ("max 100000", AFFINITY),
        ("50000 100000", 1),
        ("100000 100000", 1),
        ("150000 100000", min(2, AFFINITY)),
        ("6400000 100000", min(64, AFFINITY)),
        ("nonsense", AFFINITY),
    ],
)
def test_quota_of_a_control_group_version_2(tmp_path, content, cpus):
    (tmp_path / "cpu.max").write_text(content + "\n")
    assert usable_cpus(tmp_path) == cpus


def test_all_processors_count_where_a_process_has_no_affinity(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert usable_cpus(tmp_path) == 3

    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert usable_cpus(tmp_path) == 1


@pytest.mark.parametrize(("quota", "cpus"), [("-1", AFFINITY), ("100000", 1)])
def test_quota_of_a_control_group_version_1(tmp_path, quota, cpus):
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert usable_cpus(tmp_path) == cpus


def test_without_control_groups_the_affinity_counts(tmp_path):
    assert usable_cpus(tmp_path) == AFFINITY


def test_what_is_made_of_the_slices_comes_in_their_order():
    """Also where the first takes longest."""
    assert for_each_slice(lambda index: time.sleep(0.05 / (index + 1)) or index, range(9)) == list(range(9))


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_no_more_is_made_than_soon_taken(threads):
    begun = []
    with with_threads(threads):
        results = in_order(lambda index: begun.append(index) or index, range(40))
        assert next(results) == 0
        time.sleep(0.05)
        assert len(begun) <= threads + 2
        assert list(results) == list(range(1, 40))


def test_of_one_at_a_time_each_is_made_when_it_is_taken():
    begun = []
    with with_threads(3):
        results = in_order(lambda index: begun.append(index) or index, range(9), most=1)
        assert [next(results), next(results)] == begun == [0, 1]


def test_an_error_in_a_slice_is_raised():
    def work(index):
        raise ValueError(f"slice {index}")

    with pytest.raises(ValueError, match="slice 0"):
        for_each_slice(work, range(3))


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 4, 7])
def test_what_kept_threads_make_comes_in_the_order_of_the_items(threads, count):
    with with_threads(threads), KeptThreads() as kept:
        for _ in range(3):
            assert kept.results(lambda item: time.sleep(0.01 / (item + 1)) or item, range(count)) == list(range(count))


def test_kept_threads_are_the_same_at_each_call_and_end_with_the_block():
    together = threading.Barrier(2, timeout=30)  # passed only by two threads at the same time

    def thread(item):
        together.wait()
        return threading.get_ident()

    before = threading.active_count()
    with with_threads(5), KeptThreads() as kept:
        seen = [kept.results(thread, "ab") for _ in range(10)]
        assert threading.active_count() == before + 1
    assert threading.active_count() == before
    assert len({tuple(both) for both in seen}) == 1
    assert threading.get_ident() in seen[0]


@pytest.mark.parametrize("wrong", [0, 1])
def test_an_error_in_a_kept_thread_is_raised(wrong):
    def work(item):
        if item == wrong:
            raise ValueError(f"item {item}")

    with with_threads(2), KeptThreads() as kept, pytest.raises(ValueError, match=f"item {wrong}"):
        kept.results(work, range(2))


@pytest.mark.parametrize("own", [1, 3])
def test_pytorch_uses_as_many_threads_in_a_kept_thread_as_in_the_one_that_calls(own):
    before = torch.get_num_threads()
    torch.set_num_threads(own)
    try:
        with with_threads(2), KeptThreads() as kept:
            assert kept.results(lambda _: torch.get_num_threads(), range(2)) == [own, own]
    finally:
        torch.set_num_threads(before)
