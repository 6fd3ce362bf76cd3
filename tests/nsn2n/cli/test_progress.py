# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.console import Console

from nsn2n.cli.progress import show_progress
from nsn2n.runtime import logs


def test_bars_show_the_time_left_and_log_lines_above_them():
    terminal = Console(file=io.StringIO(), force_terminal=True, width=100)

    with show_progress(console=terminal) as progress:
        progress("CT series [1]", 0.25, 30.0)
        logging.getLogger("nsn2n.test").info("a line of the log")
        terminal.file.truncate()
        progress("CT series [1]", 0.5, 20.0)
    shown = terminal.file.getvalue()

    assert "CT series [1]" in shown
    assert " 50%" in shown
    assert "about 20 s left" in shown
    assert "a line of the log" in shown


def test_streams_are_as_before_even_after_an_error():
    before = sys.stderr
    terminal = Console(file=io.StringIO(), force_terminal=True)

    with pytest.raises(RuntimeError, match="in the block"), show_progress(console=terminal):
        raise RuntimeError("in the block")

    assert sys.stderr is before
    assert all(
        handler.stream is before
        for handler in logging.getLogger().handlers
        if type(handler).__name__ == "StreamHandler"
    )


def test_lines_of_the_log_away_from_a_terminal(caplog, monkeypatch):
    monkeypatch.setattr(logs, "SECONDS_BETWEEN_PROGRESS", 0.0)
    caplog.set_level(logging.INFO)

    with show_progress(console=Console(file=io.StringIO(), force_terminal=False)) as progress:
        progress("CT series 1", 0.25, 30.0)

    assert "25 % denoised, about 30 s left" in caplog.text


def test_quiet_shows_nothing(caplog, monkeypatch):
    monkeypatch.setattr(logs, "SECONDS_BETWEEN_PROGRESS", 0.0)
    terminal = Console(file=io.StringIO(), force_terminal=True)

    with show_progress(quiet=True, console=terminal) as progress:
        progress("CT series 1", 0.25, 30.0)

    assert terminal.file.getvalue() == ""
    assert caplog.text == ""
