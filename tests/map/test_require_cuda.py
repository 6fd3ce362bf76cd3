# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The image with GPU=1 is not built with a PyTorch that can use none; asked of the one that is installed here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]


def test_the_build_of_pytorch_decides():
    result = subprocess.run(
        [sys.executable, ROOT / "map" / "require_cuda.py"], capture_output=True, text=True, timeout=120, check=False
    )

    if torch.version.cuda is None:
        assert result.returncode == 1
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: GPU=1 needs the CUDA build of PyTorch; the wheels hold {torch.__version__}.")
    else:
        assert result.returncode == 0, result.stderr


def test_it_is_asked_in_the_image_for_gpus_only():
    (line,) = [
        line for line in (ROOT / "Dockerfile").read_text().splitlines() if "require_cuda.py" in line and "RUN" in line
    ]

    assert line == 'RUN test "${GPU}" != 1 || python3 /opt/holoscan/map/require_cuda.py'
