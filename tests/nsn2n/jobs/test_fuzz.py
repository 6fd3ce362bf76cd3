# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A fixed sample of damaged configurations; ``python -m tests.nsn2n.jobs.fuzz`` takes as many as there is time for."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.nsn2n.jobs.fuzz import make_corpus, run_once

SEEDS = 300

# Each of these once came back with a message that was as long as the file.
FOUND_BEFORE = (100810, 121957, 141500, 144319)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("settings") / "corpus")


def test_damaged_configurations_are_taken_or_refused_in_one_line(corpus, tmp_path):
    outcomes = Counter(run_once(corpus, seed, tmp_path / "work") for seed in (*range(SEEDS), *FOUND_BEFORE))
    assert set(outcomes) == {"taken", "refused"}
    assert min(outcomes.values()) >= SEEDS // 20  # it proves something of both


def test_the_undamaged_corpus_is_taken(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.nsn2n.jobs.fuzz.damaged", lambda data, _pick: data)
    assert {run_once([file], 0, tmp_path / "work") for file in corpus} == {"taken"}
