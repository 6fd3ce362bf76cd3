# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings for the whole test suite."""

from __future__ import annotations

from hypothesis import settings

# The same examples on each run, so a failure is one of the change at hand; and no limit on an example's time,
# which says more about the machine than about the code.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")
