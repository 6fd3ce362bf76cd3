# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Number of processors this process may use, in a container often fewer than the machine has, and their use.

Threads process slices, crops of a step of a fit, or other independent parts, each on its own. PyTorch's own threads,
which share each operation, synchronize hundreds of times a second by spinning: if another program occupies one of the
processors, a run with them takes many times as long.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

__all__ = ["KeptThreads", "for_each_slice", "in_order", "usable_cpus", "with_threads"]

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
    """Set the number of threads of :func:`in_order`, :func:`for_each_slice` and `KeptThreads` in this context."""
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
    count = _threads_in_use()
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


class KeptThreads:
    """Threads that are kept until the block ends: for parts of a step that is repeated hundreds of times.

    They wait without spinning. In each, PyTorch uses as many threads of its own as in that which calls: one, in a run.
    """

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> KeptThreads:
        return self

    def __exit__(self, *error: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def results(self, work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Return the results of a function for independent items, in their order.

        The calling thread computes some itself. The first call with several items starts the others: with it, no more
        threads than items, or than are in use.

        Raises
        ------
        Exception
            Whatever the function raises.
        """
        count = min(len(items), _threads_in_use())
        if count <= 1:
            return [work(item) for item in items]
        if self._pool is None:
            self._pool = ThreadPoolExecutor(count - 1, initializer=_take_number_of_pytorch)

        def of_thread(index: int) -> list[Result]:
            return [work(item) for item in items[index::count]]

        others = [self._pool.submit(of_thread, index) for index in range(1, count)]
        by_thread = [of_thread(0), *(other.result() for other in others)]
        return [by_thread[index % count][index // count] for index in range(len(items))]


def _take_number_of_pytorch() -> None:
    """Give a new thread PyTorch's number of threads: until PyTorch is asked for it, OpenMP has its own there."""
    import torch

    torch.get_num_threads()


def _threads_in_use() -> int:
    return _threads.get() or _threads_of_pytorch()


def _threads_of_pytorch() -> int:
    import torch  # here: reading and writing of series import this module without PyTorch

    return min(torch.get_num_threads(), usable_cpus())
