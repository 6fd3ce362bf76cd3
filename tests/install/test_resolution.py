# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What pyproject.toml asks for is there for other systems too, as binary packages: resolved by uv, not run."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.wheel import ROOT

pytestmark = pytest.mark.slow

PYTHONS = ("3.10", "3.11", "3.12", "3.13")
LINUX = ("x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu")
SYSTEMS = (*LINUX, "aarch64-apple-darwin", "x86_64-pc-windows-msvc")
# Holoscan asks for the glibc of Ubuntu 22.04.
UBUNTU = ("x86_64-manylinux_2_35", "aarch64-manylinux_2_35")
AT_ONCE = 8
"""uv waits for the index most of the time."""


@pytest.fixture(scope="module")
def names(uv) -> Iterator[dict[tuple[str, str], Future[set[str]]]]:
    """Names of the packages that would be installed, by system and version of Python."""

    def resolved(system, python, *extra):
        options = ("--python-platform", system, "--python-version", python, "--only-binary", ":all:", *extra)
        said = uv("pip", "compile", "--quiet", "--no-header", "--no-annotate", *options, ROOT / "pyproject.toml")
        return {line.split("==")[0] for line in said.splitlines()}

    with ThreadPoolExecutor(AT_ONCE) as threads:
        yield {
            (system, python): threads.submit(resolved, system, python, *extra)
            for systems, extra in ((SYSTEMS, ()), (UBUNTU, ("--extra", "app")))
            for system in systems
            for python in PYTHONS
        }


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", SYSTEMS)
def test_base_is_there_for(names, system, python):
    found = names[system, python].result()

    assert {"torch", "numpy", "highdicom", "pylibjpeg-openjpeg"} <= found
    # PyTorch brings CUDA for Linux alone.
    assert any(name.startswith("nvidia-") for name in found) == (system in LINUX)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", UBUNTU)
def test_application_is_there_for(names, system, python):
    assert {"monai", "monai-deploy-app-sdk", "holoscan-cu13"} <= names[system, python].result()
