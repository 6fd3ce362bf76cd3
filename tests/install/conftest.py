# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""uv and the package index, where both are to be had."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.wheel import run

# What a machine may have set: its own index is one thing, versions and wheels that others do not have are another.
OF_THE_MACHINE = ("UV_CONSTRAINT", "UV_OVERRIDE", "UV_FIND_LINKS", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_TORCH_BACKEND")


@pytest.fixture(scope="session")
def uv(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., str]]:
    """Run ``uv`` with arguments, without this machine's settings, and return what it prints.

    Its cache, some 11 GB after all tests, is removed at the end.
    """
    program = pytest.importorskip("uv", reason="uv is not installed: nsn2n[test]").find_uv_bin()
    folder = tmp_path_factory.mktemp("uv")
    cache = folder / "cache"
    wanted = folder / "wanted.txt"
    wanted.write_text("packaging\n")
    asked = [program, "pip", "compile", "--no-config", "--no-deps", "--refresh", "--quiet", str(wanted)]
    try:
        run(
            asked,
            folder,
            timeout_s=60,
            without=OF_THE_MACHINE,
            UV_CACHE_DIR=str(cache),
            UV_HTTP_TIMEOUT="10",
            UV_HTTP_RETRIES="0",
        )
    except (AssertionError, subprocess.TimeoutExpired):
        pytest.skip("the package index does not answer")

    def command(*arguments: object, cwd: Path = folder) -> str:
        line = [program, *map(str, arguments), "--no-config"]
        return run(line, cwd, timeout_s=500, without=OF_THE_MACHINE, UV_CACHE_DIR=str(cache))

    yield command
    shutil.rmtree(cache, ignore_errors=True)
