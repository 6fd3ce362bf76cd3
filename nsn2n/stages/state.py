# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The state passed between stages, and the definition of a stage."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from nsn2n._aliases import Array, Float32Array, Spacing
from nsn2n.arrays.either import copied
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
    """The state of one volume in the method. Arrays have the shape (D, H, W) and the unit of the volume.

    All are arrays of NumPy in the host's memory, or all are tensors in that of a GPU.
    """

    noisy: Array
    """As it was given."""
    filled: Array
    """The same with finite values even where there is no measurement; ``noisy`` itself if all are measurements."""
    valid: Array | None
    """Voxels that hold a measurement; None: all."""
    modality: Modality | None
    spacing_mm: Spacing | None
    """(slice, row, column) spacing, if it is known."""
    settings: Settings
    compute: Compute
    noise: NoiseMap
    partner: Partner
    """The slice that is the training target of a slice."""

    denoised: Array
    """The result so far. A stage may overwrite it, once the first one has created a separate array."""
    prediction: Array | None = None
    """The output of the multislice network, until it is mixed with the mean that it guides."""
    step_px: int | None = None
    """Pixels in a step of the guided mean, once it is known."""
    multislice: MultisliceFit | None = None
    """The second network, which a later stage continues to fit."""
    again: Callable[[PipelineState], PipelineState] | None = None
    """Applies the networks of the last fit to another volume, without a fit."""
    copy: SimulatedCopy | None = None
    """A simulated copy of a part of the volume, with known truth."""
    of_copy: PipelineState | None = None
    """The result of the stages so far on that copy, as a separate volume."""
    blank: SimulatedCopy | None = None
    """A copy of that part without its detail, if the noise is known well enough to simulate homogeneous tissue."""
    of_blank: PipelineState | None = None
    """The result of the stages so far on it."""
    probed: ProbedPart | None = None
    """A part of the volume with faint discs."""
    pass_s: float = 0.0
    """Seconds that a network needs to denoise the volume once; measured if the run has a budget."""

    loss: Float32Array = field(default_factory=lambda: np.empty(0, np.float32))
    """At each step of the first fit, shape (steps,)."""
    contrast: ContrastKept | None = None
    structure: StructureCheck | None = None
    measured: Measurements = field(default_factory=Measurements)

    def measuring(self, **figures: Any) -> PipelineState:
        """Return the state with additional measurements."""
        return replace(self, measured=replace(self.measured, **figures))


@dataclass(frozen=True, slots=True)
class ProbedPart:
    """A part of the volume with and without faint discs, each processed by the stages so far as a separate volume."""

    probes: Probes
    plain: PipelineState
    with_discs: PipelineState

    def kept_by(self, filters: Callable[[PipelineState], PipelineState]) -> ContrastKept | None:
        """Return the contrast retention of the discs after filters, which may overwrite the denoised values."""
        plain, with_discs = (
            filters(replace(part, denoised=copied(part.denoised))).denoised for part in (self.plain, self.with_discs)
        )
        return self.probes.measured(with_discs - plain)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the method: a name, a function from state to state, and its cost."""

    name: str
    run: Callable[[PipelineState, StageClock], PipelineState]
    cost: Cost = field(default_factory=Cost)
