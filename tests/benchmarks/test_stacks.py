# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The stacks of the benchmark lean by as much, and to the side, that they are said to."""

from __future__ import annotations

import numpy as np
import pytest
from stacks import leaning

from nsn2n.stack.shear import Layout


@pytest.mark.parametrize("lean_px", [0.0, 1.0, -2.0])
def test_what_stands_upright_stands_upright_again_once_moved(lean_px):
    clean = np.zeros((9, 30, 20), np.float32)
    clean[:, 14:16, 9:11] = 1
    truth = leaning(clean, lean_px)
    np.testing.assert_allclose(truth.sum(axis=(1, 2)), 4, atol=1e-4)
    moved = Layout(truth.shape, (lean_px, 0.0)).spread(truth, 0.0)
    np.testing.assert_allclose(moved, np.broadcast_to(moved[4], moved.shape), atol=1e-4)
    if lean_px:
        assert not np.allclose(truth[0], truth[8], atol=0.5)
