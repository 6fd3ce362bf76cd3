# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The devices whose tensors are compared with arrays of NumPy."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Where tensors are: in the host's memory, and in that of a GPU where there is one."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("PyTorch finds no GPU that it can use: TENSORS WERE TRIED IN THE HOST'S MEMORY ALONE")
    return torch.device(request.param)
