# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A fixed sample of damaged files; ``python -m tests.nsn2n.dicom.fuzz`` takes as many as there is time for."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.nsn2n.dicom.fuzz import damaged, make_corpus, run_once

ROOT = Path(__file__).resolve().parents[3]
SEEDS = 120

# Each of these once raised something else than an error of one line.
FOUND_BEFORE = (1223, 1291, 1311, 2290, 2412, 2592, 2727, 4948)


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


def test_damages_are_those_of_the_seed():
    data = bytes(range(256)) * 8
    assert damaged(data, random.Random(3)) == damaged(data, random.Random(3))
    assert len({damaged(data, random.Random(seed)) for seed in range(50)}) > 45


def test_more_memory_than_is_allowed_is_found():
    """In a process of its own, which the limit stays with."""
    code = (
        "from tests.nsn2n.dicom.fuzz import MOST_BYTES, bound_memory\n"
        "bound_memory()\n"
        "bytearray(MOST_BYTES // 2)\n"
        "try:\n    bytearray(2 * MOST_BYTES)\nexcept MemoryError:\n    print('bounded')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "bounded\n"
