# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

from tests.fuzzing import damaged

ROOT = Path(__file__).resolve().parents[1]


def test_damages_are_those_of_the_seed():
    data = bytes(range(256)) * 8
    assert damaged(data, random.Random(3)) == damaged(data, random.Random(3))
    assert len({damaged(data, random.Random(seed)) for seed in range(50)}) > 45


def test_more_memory_than_is_allowed_is_found():
    """In a process of its own, which the limit stays with."""
    code = (
        "from tests.fuzzing import MOST_BYTES, bound_memory\n"
        "bound_memory()\n"
        "bytearray(MOST_BYTES // 2)\n"
        "try:\n    bytearray(2 * MOST_BYTES)\nexcept MemoryError:\n    print('bounded')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "bounded\n"
