# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Progress of a run, and the deadline of each of its fits for the run to stay within its time limit."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nsn2n._aliases import Progress, StageProgress

__all__ = ["Clock", "Cost", "StageClock", "share_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Approximate duration of a stage; a stage of negligible duration needs none."""

    progress: float = 0.0
    """Its share of the progress bar, in the same unit for all stages."""
    passes: float = 0.0
    """Its time without its fit, in units of the time that a network needs to denoise the volume once."""
    fits: bool = False
    """Whether it fits a network, which can end early."""


def share_of(progress: StageProgress, start: float, end: float) -> StageProgress:
    """Return a callback for the fraction done of a section of what ``progress`` covers."""
    return lambda fraction: progress(start + fraction * (end - start))


class Clock:
    """Combines the fractions of the stages to one fraction and the seconds left, and distributes the time.

    Parameters
    ----------
    costs : sequence of Cost
        Costs of the stages of the run, in order.
    progress : callable, optional
    budget_s : float, optional
        Seconds that the run may take, from its start on.
    started : float, optional
        When it started, in seconds of `time.perf_counter`; now by default.
    """

    def __init__(
        self,
        costs: Sequence[Cost],
        progress: Progress | None = None,
        budget_s: float | None = None,
        started: float | None = None,
    ) -> None:
        self.started = time.perf_counter() if started is None else started
        self._costs = list(costs)
        self._progress = progress
        self._begun: float | None = None
        self._end = math.inf if budget_s is None else self.started + budget_s
        self._ends = np.cumsum([0.0, *(cost.progress for cost in costs)])

    def stage(self, index: int) -> StageClock:
        """Return the clock of one stage."""
        return StageClock(self, index)

    @property
    def limited(self) -> bool:
        """Whether the run has a budget."""
        return math.isfinite(self._end)

    def tell(self, index: int, fraction: float) -> None:
        """Take the fraction done of one stage."""
        if self._progress is None or not self._costs[index].progress:
            return
        start, end = (self._ends[place] / self._ends[-1] for place in (index, index + 1))
        done = float(start + fraction * (end - start))
        now = time.perf_counter()
        # The time before the first stage does not predict how long the stages take.
        self._begun = self._begun or now
        self._progress(done, (now - self._begun) * (1.0 - done) / max(done, 1e-6))

    def deadline(self, index: int, pass_s: float) -> float:
        """Return when the fit of one stage has to end; see `StageClock.deadline`."""
        left = self._costs[index:]
        for_the_rest = pass_s * sum(cost.passes for cost in left)
        now = time.perf_counter()
        return now + (self._end - for_the_rest - now) / sum(cost.fits for cost in left)


@dataclass(frozen=True, slots=True)
class StageClock:
    """The clock as one stage sees it."""

    _clock: Clock
    _index: int

    def progress(self, fraction: float) -> None:
        """Take the fraction done of this stage, 0 to 1."""
        self._clock.tell(self._index, fraction)

    def fraction(self, fraction: float, seconds_left: float) -> None:
        """Take the progress of a run that is a stage of another one; the seconds left are those of the whole."""
        self.progress(fraction)

    @property
    def limited(self) -> bool:
        """Whether the run has a budget."""
        return self._clock.limited

    def deadline(self, pass_s: float) -> float:
        """Return when the fit of this stage has to end, in seconds of `time.perf_counter`.

        Parameters
        ----------
        pass_s : float
            Seconds that a network needs to denoise the volume once.
        """
        return self._clock.deadline(self._index, pass_s)
