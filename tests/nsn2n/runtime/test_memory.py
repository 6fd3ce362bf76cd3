# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import numpy as np
import pytest
import torch

from nsn2n.errors import NSN2NError
from nsn2n.runtime.memory import memory_errors


@pytest.mark.parametrize(
    "ask",
    [
        lambda: np.empty(2**60, np.uint8),
        lambda: torch.empty(2**60, dtype=torch.uint8),
        lambda: bytearray(2**60),
    ],
    ids=["NumPy", "PyTorch", "Python"],
)
def test_what_is_not_there_is_told_in_one_line(ask):
    message = r"memory enough for a whole volume; it ran out \[CT series 2\]"
    with pytest.raises(NSN2NError, match=message) as caught, memory_errors("CT series 2"):
        ask()

    assert "\n" not in str(caught.value)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="something else"), memory_errors("CT series 2"):
        raise RuntimeError("something else")
