# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What stages hand on to each other, and what a stage is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nsn2n._aliases import BoolArray, Float32Array, Spacing
from nsn2n.contrast_kept import ContrastKept
from nsn2n.measurements import Measurements
from nsn2n.modality import Modality
from nsn2n.noise.correlation import Partner
from nsn2n.noise.level import NoiseMap
from nsn2n.probes import Probes
from nsn2n.runtime.compute import Compute
from nsn2n.settings import Settings
from nsn2n.simulated_copy import SimulatedCopy
from nsn2n.stages.clock import Cost, StageClock
from nsn2n.structure_check import StructureCheck
from nsn2n.training.multislice_fit import MultisliceFit

__all__ = ["PipelineState", "ProbedPart", "Stage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineState:
    """One volume on its way through the method. Arrays have the shape (D, H, W) and the unit of the volume."""

    noisy: Float32Array
    """As it was given."""
    filled: Float32Array
    """The same with finite values also where there is no measurement; ``noisy`` itself where all are measurements."""
    valid: BoolArray | None
    """Voxels that hold a measurement; None: all."""
    modality: Modality | None
    spacing_mm: Spacing | None
    """(slice, row, column) spacing, where it is known."""
    settings: Settings
    compute: Compute
    noise: NoiseMap
    partner: Partner
    """The slice that a slice learns from."""

    denoised: Float32Array
    """What was made of the volume so far. A stage may overwrite it, once the first one has made an array of its own."""
    prediction: Float32Array | None = None
    """What the multislice network made of the volume, until it is mixed with the mean that it guides."""
    step_px: int | None = None
    """Pixels in a step of the guided mean, once it is known."""
    multislice: MultisliceFit | None = None
    """The second network, which a later stage goes on with."""
    again: Callable[[PipelineState], PipelineState] | None = None
    """What the last fit does to another volume: with its networks, but without a fit."""
    copy: SimulatedCopy | None = None
    """A part of the volume whose truth is known."""
    of_copy: PipelineState | None = None
    """What the stages so far made of that copy, as of a volume of its own."""
    probed: ProbedPart | None = None
    """A part of the volume with faint discs."""
    pass_s: float = 0.0
    """Seconds that a network needs to denoise the volume once; measured where the run has a budget."""

    loss: Float32Array = field(default_factory=lambda: np.empty(0, np.float32))
    """At each step of the first fit, shape (steps,)."""
    contrast: ContrastKept | None = None
    structure: StructureCheck | None = None
    measured: Measurements = field(default_factory=Measurements)

    def measuring(self, **figures: Any) -> PipelineState:
        """Return the state with some measurements more."""
        return replace(self, measured=replace(self.measured, **figures))


@dataclass(frozen=True, slots=True)
class ProbedPart:
    """A part of the volume with and without faint discs, each as the stages so far made it of a volume of its own."""

    probes: Probes
    plain: PipelineState
    with_discs: PipelineState

    def kept_by(self, filters: Callable[[PipelineState], PipelineState]) -> ContrastKept | None:
        """Return what filters leave of the discs; they may overwrite what is denoised."""
        plain, with_discs = (
            filters(replace(part, denoised=part.denoised.copy())).denoised for part in (self.plain, self.with_discs)
        )
        return self.probes.measured(with_discs - plain)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the method: a name, a function from state to state, and its cost."""

    name: str
    run: Callable[[PipelineState, StageClock], PipelineState]
    cost: Cost = field(default_factory=Cost)
