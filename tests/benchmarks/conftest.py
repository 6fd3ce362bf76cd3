# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The benchmark's modules lie beside each other, as scripts do."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import cases

# A scan takes seconds. The benchmark keeps one, as its cases follow each other; the tests come back to them.
cases._phantom_study = cache(cases._phantom_study.__wrapped__)
