# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The MONAI Deploy application: operators connected to a pipeline.

Holoscan, MONAI and PyTorch are imported when the pipeline is built, so that help and errors appear immediately.
"""

from __future__ import annotations

from nsn2n.app.runner import main

__all__ = ["main"]
