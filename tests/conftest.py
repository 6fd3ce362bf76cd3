# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Settings for the whole test suite."""

from __future__ import annotations

import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import settings

# Before anything loads PyTorch, also in the programs that tests start. Tests run beside each other, one on each core,
# and perhaps beside other programs: threads of one fit that wait for each other would make it many times as slow.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# The same examples on each run, so a failure is one of the change at hand; and no limit on an example's time,
# which says more about the machine than about the code.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.load_profile("repeatable")

NOBODY = 65534

# Under tests/. Each takes a quarter of a minute and more, and all tests of a file run on one process.
LONG_FILES = (
    "nsn2n/test_memory_limit.py",
    "install/test_versions.py",
    "install/test_resolution.py",
    "nsn2n/batch/test_on_ray.py",
    "test_docs.py",
    "nsn2n/node/test_worker.py",
    "test_faults.py",
    "nsn2n/test_on_a_gpu.py",
    "benchmarks/test_goals.py",
    "nsn2n/test_denoising.py",
    "benchmarks/test_commands.py",
    "nsn2n/cli/test_batch.py",
    "install/test_other_systems.py",
    "test_notebooks.py",
    "nsn2n/dicom/test_cases_table.py",
    "nsn2n/node/test_series_processor.py",
    "nsn2n/cli/test_main.py",
    "test_archive.py",
    "test_packaging.py",
    "test_privacy.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files come first: at the end no process has to wait for one of them."""
    places = {Path(__file__).parent / name: place for place, name in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


@contextmanager
def _logging_kept() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in ("", "nsn2n", "pydicom")]
    before = [(logger, logger.level, logger.handlers[:]) for logger in loggers]
    excepthook = sys.excepthook
    with warnings.catch_warnings():
        yield
        logging.captureWarnings(False)
    sys.excepthook = excepthook
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers


@pytest.fixture(scope="session")
def logging_kept() -> Callable[[], AbstractContextManager[None]]:
    """A context that leaves logging as it was; command line and application configure that of their process."""
    return _logging_kept


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """The process of the tests is that of all tests."""
    with _logging_kept():
        yield


@pytest.fixture
def signals_as_in_a_terminal() -> Iterator[None]:
    """A test run in the background of a shell ignores Ctrl-C, and the programs that tests start inherit that."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_DFL) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def bound_by_permissions(tmp_path: Path) -> Callable[[], AbstractContextManager[None]]:
    """A context in which permissions bind the process, also where the tests run as root, who may do everything."""

    @contextmanager
    def context() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        # The folders of pytest are open to root only; nobody must be able to pass through them.
        closed = {path: path.stat().st_mode for path in (tmp_path, *tmp_path.parents) if not path.stat().st_mode & 1}
        for path, mode in closed.items():
            path.chmod(mode | 0o011)
        os.setresuid(NOBODY, NOBODY, 0)
        try:
            yield
        finally:
            os.setresuid(0, 0, 0)
            for path, mode in closed.items():
                path.chmod(mode)

    return context
