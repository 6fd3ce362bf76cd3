# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A volume before its first stage, and one stage run alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from nsn2n.pipeline import measured_state
from nsn2n.runtime.compute import choose_compute
from nsn2n.settings import FitSettings, NetworkSettings, RefitSettings, Settings
from nsn2n.stages import PipelineState, Stage
from nsn2n.stages.clock import Clock
from nsn2n.stages.faint_discs import faint_discs

BRIEF = Settings(
    fit=FitSettings(steps=3, crop_px=16),
    refit=RefitSettings(steps=2, renew_at=0.5),
    network=NetworkSettings(channels=4, levels=2),
)


@pytest.fixture
def noisy_dhw() -> NDArray[np.float32]:
    """Even tissue of 100, noise of 5."""
    return (100 + 5 * np.random.default_rng(0).standard_normal((6, 40, 40))).astype(np.float32)


@pytest.fixture
def make_state(noisy_dhw: NDArray[np.float32]) -> Callable[..., PipelineState]:
    """State before the first stage; by keyword, what differs from an even volume with settings for a fit of a moment.

    ``denoised`` is an array of its own, as after the first stage.
    """

    def make(
        volume: NDArray[np.float32] | None = None,
        *,
        valid: NDArray[np.bool_] | None = None,
        settings: Settings = BRIEF,
        modality: Any = None,
        denoised: NDArray[np.float32] | None = None,
    ) -> PipelineState:
        noisy = noisy_dhw if volume is None else volume
        state = measured_state(noisy, valid, modality, settings, choose_compute("cpu"))
        return replace(state, denoised=np.full_like(noisy, 100) if denoised is None else denoised)

    return make


@pytest.fixture
def with_faint_discs(make_state: Callable[..., PipelineState], run_stage: Callable[..., PipelineState]) -> Any:
    """State of an even volume with discs in a part of it, after a fit that halves all that differs from 100."""
    volume = (100 + 5 * np.random.default_rng(0).standard_normal((8, 160, 160))).astype(np.float32)
    state = make_state(volume, denoised=np.full_like(volume, 100))
    halved = replace(
        state, spacing_mm=(2.0, 1.0, 1.0), again=lambda other: replace(other, denoised=100 + (other.filled - 100) / 2)
    )
    return run_stage(faint_discs(bound_a_filter=True), halved)


@pytest.fixture
def run_stage() -> Callable[..., PipelineState]:
    """Run one stage on a state; ``progress`` and ``budget_s`` as of a run."""

    def run(stage: Stage, state: PipelineState, **options: Any) -> PipelineState:
        return stage.run(state, Clock([stage.cost], **options).stage(0))

    return run
