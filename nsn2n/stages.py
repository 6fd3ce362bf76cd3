# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The stages of a run: which there are, how far it is, and when each fit has to end for the run to keep its time."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from nsn2n.settings import Settings

__all__ = ["Clock", "Progress", "stages_of"]

Progress = Callable[[float, float], None]
"""Takes the fraction done and the seconds left."""

_STAGES = {
    "fit": 2.0,
    "apply": 2.0,
    "average": 3.0,
    "draft": 3.0,
    "average draft": 3.0,
    "refit": 5.0,
    "average again": 3.0,
    "edges": 2.0,
}
"""All stages, in order, and about how long each takes, for the progress bar."""

_FITS = ("fit", "draft", "refit")

_PASSES = {
    "apply": 1.0,
    "average": 2.0,
    "draft": 1.5,
    "average draft": 2.0,
    "refit": 2.5,
    "average again": 2.0,
    "edges": 1.0,
}
"""About how long each stage takes beside its fit, in times that a network needs to denoise the volume."""


def stages_of(settings: Settings, modality: str | None) -> list[str]:
    """Return the stages that a run has, in order."""
    refits = settings.refit.when == "always" or (settings.refit.when == "mr" and modality == "MR")
    averages = settings.average.reach != 0
    drafts = refits and settings.refit.draft_steps > 0
    edges = settings.edges.when == "always" or (settings.edges.when == "ct" and modality == "CT")
    wanted = {
        "fit": True,
        "apply": True,
        "average": averages,
        "draft": drafts,
        "average draft": averages and drafts,
        "refit": refits,
        "average again": averages and refits,
        "edges": edges,
    }
    return [stage for stage in _STAGES if wanted[stage]]


class Clock:
    """Turns the fractions of the stages into one fraction and the seconds left, and shares out the time.

    Parameters
    ----------
    stages : sequence of str
        As :func:`stages_of` returns them.
    progress : callable, optional
    budget_s : float, optional
        Seconds that the run may take, from now on.
    """

    def __init__(self, stages: Sequence[str], progress: Progress | None = None, budget_s: float | None = None) -> None:
        self.started = time.perf_counter()
        self._stages = list(stages)
        self._progress = progress
        self._begun: float | None = None
        self._end = math.inf if budget_s is None else self.started + budget_s
        ends = np.cumsum([0.0, *(_STAGES[stage] for stage in stages)])
        self._spans = {stage: (ends[i] / ends[-1], ends[i + 1] / ends[-1]) for i, stage in enumerate(stages)}

    def stage(self, name: str) -> Callable[[float], None]:
        """Return what takes the fraction done of that stage."""
        start, end = self._spans[name]

        def tell(fraction: float) -> None:
            if self._progress is not None:
                done = float(start + fraction * (end - start))
                now = time.perf_counter()
                # What came before the first stage says nothing of how long the stages take.
                self._begun = self._begun or now
                self._progress(done, (now - self._begun) * (1.0 - done) / max(done, 1e-6))

        return tell

    @property
    def limited(self) -> bool:
        """Whether the run has a budget."""
        return math.isfinite(self._end)

    def deadline(self, fit: str, pass_s: float) -> float:
        """Return when a fit has to end, in seconds of `time.perf_counter`.

        Parameters
        ----------
        fit : {"fit", "draft", "refit"}
        pass_s : float
            Seconds that a network needs to denoise the volume once.
        """
        left = self._stages[self._stages.index(fit) :]
        for_the_rest = pass_s * sum(_PASSES.get(stage, 0.0) for stage in left)
        now = time.perf_counter()
        return now + (self._end - for_the_rest - now) / sum(stage in _FITS for stage in left)
