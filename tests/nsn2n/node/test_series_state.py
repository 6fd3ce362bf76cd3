# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from dataclasses import replace

import pytest

from nsn2n.errors import NSN2NError
from nsn2n.node.series_state import (
    DONE,
    OutputMark,
    PlannedSeries,
    SeriesState,
    growing_wait_s,
    instances_digest,
    later,
)

STATE = SeriesState(
    state=DONE, source="abc", tries=2, reason="why", verdict="pass", earlier=("2.25.1",), next_try=later(-1),
    outputs=(PlannedSeries(series="2.25.2", instances=3, digest="def"),), sent="pacs",
)  # fmt: skip
MARK = OutputMark(made_of="2.25.3", source="abc", instances=3, superseded_by=("2.25.4",), send_to="pacs")


@pytest.mark.parametrize("stored", [STATE, MARK])
def test_what_is_stored_is_what_is_read(stored):
    read = type(stored).from_text(stored.to_text())

    assert read.time  # that of writing
    assert replace(read, time="") == stored


def test_what_is_not_known_is_left_out():
    told = json.loads(SeriesState(state=DONE, source="abc").to_text())

    assert set(told) == {"nsn2n", "state", "source", "time"}


@pytest.mark.parametrize(
    "text",
    ["", "mine", "[]", "1", '{"state":"done","source":"a"}', '{"nsn2n":2,"state":"done","source":"a"}',
     '{"nsn2n":1,"state":"done","source":"a","more":1}', '{"nsn2n":1,"state":"done"}',
     '{"nsn2n":1,"state":"done","source":"a","outputs":[{"uid":1}]}',
     '{"nsn2n":1,"state":"done","source":"a","outputs":3}',
     "[" * 100_000],
)  # fmt: skip
def test_what_others_wrote_is_refused(text):
    with pytest.raises(NSN2NError, match="must be that of this program, version 1"):
        SeriesState.from_text(text)


def test_the_digest_is_that_of_a_set():
    assert instances_digest(["a", "b"]) == instances_digest(["b", "a"]) != instances_digest(["a"])


def test_waits_grow_up_to_ten_minutes():
    assert [growing_wait_s(tries, 5) for tries in (1, 2, 3, 4)] == [5, 10, 20, 40]
    assert growing_wait_s(10_000, 5) == 600


def test_a_failure_is_counted_and_waits():
    failed = replace(MARK, superseded_by=()).after_failure("it is down", 60)

    assert (failed.tries, failed.reason) == (1, "it is down")
    assert failed.is_to_be_sent()
    assert not failed.is_due()
    assert failed.after_failure("still", 1e-6).is_due()


def test_what_is_superseded_or_sent_is_not_to_be_sent():
    assert not MARK.is_to_be_sent()
    assert not replace(MARK, superseded_by=(), sent=later(0)).is_to_be_sent()
    assert not replace(MARK, superseded_by=(), send_to="").is_to_be_sent()
