# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The command line in this process, and settings for a fit of a moment."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest


class Finished(NamedTuple):
    """What a command left."""

    code: int
    stdout: str
    stderr: str


@pytest.fixture
def brief_config(tmp_path: Path) -> Path:
    """A settings file for a fit of a moment."""
    file = tmp_path / "brief.yaml"
    file.write_text("fit: {steps: 12, crop_px: 16}\nnetwork: {channels: 4, levels: 2}\n")
    return file


@pytest.fixture
def _logging_as_before() -> Iterator[None]:
    root, own, pydicom = logging.getLogger(), logging.getLogger("nsn2n"), logging.getLogger("pydicom")
    handlers, levels = root.handlers[:], [logger.level for logger in (root, own, pydicom)]
    with warnings.catch_warnings():
        yield
    root.handlers[:] = handlers
    for logger, level in zip((root, own, pydicom), levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def nsn2n(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], _logging_as_before: None
) -> Callable[..., Finished]:
    """Run ``nsn2n`` with arguments."""
    from nsn2n.cli import main

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "argv", ["nsn2n", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main()
        output = capsys.readouterr()
        return Finished(int(stopped.value.code or 0), output.out, output.err)

    return run
