# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Number of processors this process may use, in a container often fewer than the machine has, and their use.

Threads process slices, or other independent parts, each on its own. PyTorch's own threads, which share each operation,
synchronize hundreds of times a second by spinning: if another program occupies one of the processors, a run with them
takes many times as long.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

__all__ = ["for_each_slice", "in_order", "usable_cpus", "with_threads"]

Item = TypeVar("Item")
Result = TypeVar("Result")

_threads: ContextVar[int | None] = ContextVar("_threads", default=None)

CGROUP = Path("/sys/fs/cgroup")


def usable_cpus(cgroup: Path = CGROUP) -> int:
    """Return the processors of the affinity mask, or the CPU quota of the control group if that is less.

    Linux has both; elsewhere all processors of the machine are counted.

    More threads than the quota allows wait for each other at every step of a fit, which then takes many times as long.

    Parameters
    ----------
    cgroup : Path
        Where the control groups are mounted; version 2 has ``cpu.max``, version 1 ``cpu/cpu.cfs_quota_us``.

    Returns
    -------
    int
        At least 1.
    """
    known = hasattr(os, "sched_getaffinity")
    affinity = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    quota = _quota(cgroup)
    return affinity if quota is None else max(1, min(affinity, math.ceil(quota)))


def _quota(cgroup: Path) -> float | None:
    """Return the processors that the quota amounts to; None if there is none."""
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


@contextmanager
def with_threads(count: int) -> Iterator[None]:
    """Set the number of threads of :func:`in_order` and :func:`for_each_slice` in this context."""
    token = _threads.set(count)
    try:
        yield
    finally:
        _threads.reset(token)


def for_each_slice(work: Callable[[int], Result], slices: Iterable[int]) -> list[Result]:
    """Return the results of a function for slice indices, in order; like :func:`in_order`."""
    return list(in_order(work, slices))


def in_order(work: Callable[[Item], Result], items: Iterable[Item], *, most: int | None = None) -> Iterator[Result]:
    """Yield the results of a function for items, in their order; threads compute the next ones in the meantime.

    NumPy, SciPy and PyTorch release the GIL while they compute. Items are independent, so the result is the same with
    any number of threads. At most one result more than there are threads is held.

    Parameters
    ----------
    work : callable
    items : iterable
    most : int, optional
        Maximum number of threads, if each needs much memory.

    Raises
    ------
    Exception
        Whatever the function raises, instead of its result.
    """
    count = _threads.get() or _threads_of_pytorch()
    if most is not None:
        count = min(count, most)
    if count == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(count) as threads:
        try:
            for item in items:
                if len(waiting) > count:
                    yield waiting.popleft().result()
                waiting.append(threads.submit(work, item))
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _threads_of_pytorch() -> int:
    import torch  # here: reading and writing of series import this module without PyTorch

    return min(torch.get_num_threads(), usable_cpus())
