# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A fixed sample of odd names; ``python -m tests.nsn2n.cli.fuzz`` takes as many as there is time for."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.nsn2n.cli.fuzz import SECRETS, make_corpus, run_once

SEEDS = 100


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("names") / "corpus")


@pytest.mark.filterwarnings("ignore")
def test_odd_names_are_printed_as_text(corpus, tmp_path):
    outcomes = Counter(run_once(corpus, seed, tmp_path / "work") for seed in range(SEEDS))
    assert {"info 0", "dry run 0", "series 1", "config 1"} <= set(outcomes)


def test_what_is_printed_raw_is_found(corpus, tmp_path, monkeypatch):
    """Whatever came from outside: with names of plain words alone nothing would be proven."""
    monkeypatch.setattr("nsn2n.runtime.logs.visible", lambda text: text)
    with pytest.raises(AssertionError):
        Counter(run_once(corpus, seed, tmp_path / "work") for seed in range(SEEDS))


def test_a_patient_in_a_log_is_found(corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(SECRETS, "PatientName", "CT")
    with pytest.raises(AssertionError):
        Counter(run_once(corpus, seed, tmp_path / "work") for seed in range(SEEDS))
