# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from nsn2n.batch.shards import Shard, shard_of
from nsn2n.errors import SettingsError

UIDS = [f"2.25.{number}" for number in range(2000)]


@pytest.mark.parametrize("count", [1, 2, 7, 100])
def test_each_series_has_one_shard(count):
    shards = [Shard(index, count) for index in range(1, count + 1)]
    sizes = [sum(shard.has(uid) for uid in UIDS) for shard in shards]

    assert sum(sizes) == len(UIDS)
    assert all(sum(shard.has(uid) for shard in shards) == 1 for uid in UIDS[:50])
    assert min(sizes) > 0


def test_ledgers_have_names_of_their_own():
    assert Shard(2, 8).ledger == "ledger-2-of-8.sqlite"


SLURM = {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "5"}


@pytest.mark.parametrize(
    ("given", "environment", "shard"),
    [
        (None, {}, None),
        ("3/8", {}, Shard(3, 8)),
        (None, SLURM, Shard(3, 4)),
        ("1/2", SLURM, Shard(1, 2)),
        (None, {**SLURM, "SLURM_ARRAY_TASK_ID": "9", "SLURM_ARRAY_TASK_STEP": "2"}, Shard(3, 4)),
        (None, {"JOB_COMPLETION_INDEX": "0", "NSN2N_SHARDS": "10"}, Shard(1, 10)),
        (None, {"JOB_COMPLETION_INDEX": "9", "NSN2N_SHARDS": "10"}, Shard(10, 10)),
    ],
)
def test_shard_is_that_of_the_command_or_of_what_started_it(given, environment, shard):
    assert shard_of(given, environment) == shard


@pytest.mark.parametrize(
    ("given", "environment", "message"),
    [
        ("0/8", {}, "in 1/N to N/N; got --shard 0/8"),
        ("9/8", {}, "in 1/N to N/N"),
        ("2", {}, "must be I/N"),
        ("1/0", {}, "in 1/N to N/N"),
        ("a/b", {}, "must be I/N"),
        (None, {"SLURM_ARRAY_TASK_ID": "7"}, "SLURM_ARRAY_TASK_COUNT must be a whole number"),
        (None, {**SLURM, "SLURM_ARRAY_TASK_ID": "9"}, "got task 9 of an array of 4 from 5 on"),
        (None, {**SLURM, "SLURM_ARRAY_TASK_STEP": "4"}, "equal steps"),
        (None, {"JOB_COMPLETION_INDEX": "3"}, "NSN2N_SHARDS must be a whole number; got ''"),
        (None, {"JOB_COMPLETION_INDEX": "3", "NSN2N_SHARDS": "3"}, "got JOB_COMPLETION_INDEX 3"),
    ],
)
def test_what_is_no_shard_is_refused(given, environment, message):
    with pytest.raises(SettingsError, match=message):
        shard_of(given, environment)
