# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""How many processors this process may use, in a container often less than the machine has, and their use."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

__all__ = ["for_each_slice", "usable_cpus"]

Result = TypeVar("Result")

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Return the processors of the affinity mask, or the CPU quota of the control group if that is less.

    More threads than the quota grants wait for each other at every step of a fit, which then takes many times as long.

    Parameters
    ----------
    cgroup : Path
        Where the control groups are mounted; version 2 has ``cpu.max``, version 1 ``cpu/cpu.cfs_quota_us``.

    Returns
    -------
    int
        At least 1.
    """
    affinity = len(os.sched_getaffinity(0))
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Processors that the quota amounts to; None where there is none."""
    try:
        if (cgroup / "cpu.max").is_file():
            granted, period = (cgroup / "cpu.max").read_text().split()
        else:
            granted = (cgroup / "cpu" / "cpu.cfs_quota_us").read_text().strip()
            period = (cgroup / "cpu" / "cpu.cfs_period_us").read_text().strip()
        quota = float(granted) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None  # no such file, or the word "max"
    return quota if quota > 0 else None


def for_each_slice(work: Callable[[int], Result], slices: Iterable[int]) -> list[Result]:
    """Return what a function makes of the indices of slices, in order; in as many threads as PyTorch uses.

    NumPy and SciPy let other threads run while they compute. Each slice is for itself, so the result is the same with
    any number of threads.
    """
    import torch  # here: reading and writing of series, which need no PyTorch, import this module too

    with ThreadPoolExecutor(min(torch.get_num_threads(), usable_cpus())) as threads:
        return list(threads.map(work, slices))
