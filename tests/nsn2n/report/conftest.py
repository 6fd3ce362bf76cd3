# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume, its result and its report."""

from __future__ import annotations

import numpy as np
import pytest

from nsn2n import SliceStack, denoise
from nsn2n.report import collect_report

CONFIG = {"fit": {"steps": 30, "crop_px": 32}, "network": {"channels": 4, "levels": 2}}


@pytest.fixture(scope="session")
def volume():
    """A disk in water, noise of 20 HU; rows twice as far apart as columns."""
    y, x = np.mgrid[:96, :128]
    disk = np.where(np.hypot(y - 40, x - 70) < 25, 100.0, 0.0)
    return (disk + np.random.default_rng(0).normal(0, 20, (7, 96, 128))).astype(np.float32)


@pytest.fixture(scope="session")
def stack(volume):
    return SliceStack.of(volume, modality="CT", spacing_mm=(2.0, 1.0, 0.5))


@pytest.fixture(scope="session")
def result(stack):
    return denoise(stack, preset="fast", device="cpu", config=CONFIG)


@pytest.fixture(scope="session")
def data(stack, result):
    return collect_report(stack, result)
