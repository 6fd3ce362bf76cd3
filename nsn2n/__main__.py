# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""``python -m nsn2n`` is the command ``nsn2n``."""

from __future__ import annotations

from nsn2n.cli.main import main

if __name__ == "__main__":
    main()
