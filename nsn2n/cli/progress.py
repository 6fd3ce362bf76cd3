# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Progress of a run: a bar with the time left on a terminal, otherwise a log line from time to time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from nsn2n.cli.signals import raise_if_stopped
from nsn2n.runtime.logs import ProgressLog, configure_logging

__all__ = ["ShowProgress", "show_progress"]

ShowProgress = Callable[[str, float, float], None]
"""Takes the name of what is in progress, the fraction of it that is done, and the seconds left."""


@contextmanager
def show_progress(*, quiet: bool = False, console: Console | None = None) -> Iterator[ShowProgress]:
    """Yield a callable that shows progress on stderr until the block ends.

    It raises SystemExit if the run was signaled to stop (:mod:`nsn2n.cli.signals`).

    Parameters
    ----------
    quiet : bool
        Show nothing.
    console : Console, optional
        By default that of stderr.
    """
    with _shown(quiet, console or Console(stderr=True)) as show:

        def heed_and_show(what: str, fraction: float, seconds_left: float) -> None:
            raise_if_stopped()
            show(what, fraction, seconds_left)

        yield heed_and_show


@contextmanager
def _shown(quiet: bool, console: Console) -> Iterator[ShowProgress]:
    if quiet:
        yield lambda what, fraction, seconds_left: None
    elif not console.is_terminal:
        log = ProgressLog()
        yield lambda what, fraction, seconds_left: log(fraction, seconds_left)
    else:
        yield from _bars(console)


def _bars(console: Console) -> Iterator[ShowProgress]:
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=console) as bars:
        configure_logging("INFO")  # stderr is now a stream that writes above the bars
        tasks = {}

        def show(what: str, fraction: float, seconds_left: float) -> None:
            left = f"about {seconds_left:.0f} s left" if fraction < 1 else "done"
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=1.0, left=left)
            bars.update(tasks[what], completed=fraction, left=left)

        try:
            yield show
        finally:
            bars.stop()
            configure_logging("INFO")
