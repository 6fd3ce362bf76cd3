# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Let the threads of a fit share their processors with other programs.

A step of a fit starts and joins threads some hundred times. A thread of GNU OpenMP that waits for the others spins for
long by default; where another program has one of the processors, all then wait for the one that does not run, and a
fit takes many times as long. With a short spin the wait is left to the system.
"""

from __future__ import annotations

import os

__all__ = ["SPINS", "share_processors"]

SPINS = "2000"
"""Turns of the waiting loop, some microseconds; the default is 300,000 and more."""


def share_processors() -> None:
    """Set the variable that GNU OpenMP reads when it is loaded; call it before PyTorch is imported.

    What the user has set (``GOMP_SPINCOUNT``, ``OMP_WAIT_POLICY``) stays.
    """
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
