# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Judges whether what was removed looks like noise."""

from __future__ import annotations

import logging
from dataclasses import replace

from nsn2n.stages.clock import StageClock
from nsn2n.stages.state import PipelineState, Stage
from nsn2n.structure_check import check_structure

__all__ = ["structure_check"]

logger = logging.getLogger(__name__)


def structure_check() -> Stage:
    """Return the stage. It comes before the mean of Rician noise is subtracted, since that mean follows the anatomy."""
    return Stage("structure check", _check)


def _check(state: PipelineState, clock: StageClock) -> PipelineState:
    structure = check_structure(
        state.filled,
        state.denoised,
        state.noise.sd,
        state.settings.structure,
        floor=state.noise.floor,
        valid=state.valid,
    )
    if structure.verdict != "pass":
        logger.warning("what was removed does not look like noise alone: %s", structure.summary())
    return replace(state, structure=structure)
