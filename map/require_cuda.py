# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Stops the build of the GPU image if its PyTorch cannot use a GPU, as when an index prefers the CPU build."""

from __future__ import annotations

import sys

import torch

if __name__ == "__main__" and torch.version.cuda is None:
    sys.exit(
        f"error: GPU=1 needs the CUDA build of PyTorch; the wheels hold {torch.__version__}."
        " Fetch that build from another index (PIP_INSTALL_ARGS), or name a folder that has it (WHEELS)."
    )
