# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The waiting of OpenMP threads."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from nsn2n.runtime.openmp import SPINS, share_processors


@pytest.mark.parametrize(
    ("environment", "spins"),
    [({}, SPINS), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "ACTIVE"}, None)],
)
def test_the_choice_of_the_user_stays(monkeypatch, environment, spins):
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    share_processors()
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_openmp_takes_it_from_there():
    """GNU OpenMP prints what it read when it is loaded, here with PyTorch."""
    code = "from nsn2n.runtime.openmp import share_processors; share_processors(); import torch"
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("GOMP_", "OMP_"))}
    result = subprocess.run(
        [sys.executable, "-c", code],
        env={**environment, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in result.stderr
