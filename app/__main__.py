# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Starts the application: ``python app`` in a checkout, ``python -m nsn2n.app`` once installed."""

from __future__ import annotations

import sys

# By its installed name: as a script, this folder is not a package.
from nsn2n.app import main

if __name__ == "__main__":
    if sys.platform == "linux":
        from nsn2n.app.signals import stop_on_signals

        stop_on_signals()
    sys.exit(main())
