# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A fixed sample of damaged files; ``python -m tests.nsn2n.dicom.fuzz`` takes as many as there is time for."""

from __future__ import annotations

import logging
from collections import Counter

import pytest

from tests.nsn2n.dicom.fuzz import make_corpus, run_once

SEEDS = 120

# Each of these once raised something else than an error of one line.
FOUND_BEFORE = (1223, 1291, 1311, 2290, 2412, 2592, 2727, 4948, 101355)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus"))


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_taken_or_refused_in_one_line(corpus, tmp_path, caplog):
    caplog.set_level(logging.CRITICAL)
    outcomes = Counter(run_once(corpus, seed, tmp_path) for seed in (*range(SEEDS), *FOUND_BEFORE))
    assert set(outcomes) <= {"written", "scan", "read", "write"}
    assert min(outcomes[name] for name in ("written", "scan", "read")) >= SEEDS // 20  # it proves something of each


def test_the_undamaged_corpus_is_written(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.nsn2n.dicom.fuzz.damaged", lambda data, _pick: data)
    assert {run_once([folder], 0, tmp_path) for folder in corpus} == {"written"}
