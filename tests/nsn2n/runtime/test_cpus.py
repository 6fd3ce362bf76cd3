# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Processors that a process may use."""

from __future__ import annotations

import os
import time

import pytest

from nsn2n.runtime.cpus import for_each_slice, in_order, usable_cpus, with_threads

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
