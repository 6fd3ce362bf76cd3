# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""One volume on its way through the method, stage by stage."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from nsn2n.filters.edge_filter import filter_edges
from nsn2n.filters.guided_nlm import coarse_mean, guided_mean, step_for
from nsn2n.filters.structure_recovery import Restorer
from nsn2n.noise.correlation import SliceCorrelation, choose_partner, slice_correlation
from nsn2n.noise.level import block_sd, measure_noise, noise_sd_slice
from nsn2n.noise.rician import channel_noise, without_bias
from nsn2n.runtime.cpus import for_each_slice
from nsn2n.settings import Settings
from nsn2n.stack.sampling import evenly_spread
from nsn2n.stack.validation import fill_invalid
from nsn2n.stages import Clock
from nsn2n.structure_check import StructureCheck, check_structure
from nsn2n.training.fitting import Judge, Problem, fit
from nsn2n.training.inference import Compute, denoised_batches, reproducible
from nsn2n.training.match_refinement import Rematch
from nsn2n.training.multislice_fit import Refit
from nsn2n.training.networks import build_network
from nsn2n.training.pretrained import load_start, starts_from_bundle
from nsn2n.training.slice_pairs import pairs_by_low_pass, pairs_by_noise

__all__ = ["Run"]

logger = logging.getLogger(__name__)

Float32Array = NDArray[np.float32]
BoolArray = NDArray[np.bool_]

_NO_NOISE = 1e-6
"""Noise below this fraction of the data range is rounding, not noise."""

_STEP_SLICES = 16
"""Slices on which the correlation of neighboring pixels is measured."""

_REACH_BEFORE_COARSE = 2
"""Steps in reach of the guided mean where the coarse one follows, which sees further."""
_FIRST_MEAN = 0.45
"""Share of the time of both means that the first one takes."""

_REFIT_SHARE = 0.75
"""Share of the time of a second fit that the optimizer takes."""


def _part(tell: Callable[[float], None], start: float, end: float) -> Callable[[float], None]:
    """Return what takes the fraction done of a part of what ``tell`` is told of."""
    return lambda fraction: tell(start + fraction * (end - start))


class Run:
    """One volume on its way through the method.

    Parameters
    ----------
    noisy : ndarray, shape (D, H, W), float32
    valid : ndarray, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    settings : Settings
    compute : Compute
    clock : Clock
    """

    def __init__(
        self,
        noisy: Float32Array,
        valid: BoolArray | None,
        settings: Settings,
        compute: Compute,
        clock: Clock,
    ) -> None:
        self._noisy = noisy
        self._valid = valid
        self._settings = settings
        self._compute = compute
        self._clock = clock
        self._filled = noisy if valid is None else fill_invalid(noisy, valid)
        self._pass_s = 0.0
        self.matched_fraction = 0.0
        self.bias_taken = False
        self.refit_steps = 0
        self._step_px = settings.average.step_px
        self.noise = measure_noise(self._filled, valid)
        self._low, self._high = float(self._filled.min()), float(self._filled.max())
        self._has_noise = self.noise.median > _NO_NOISE * (self._high - self._low)
        shared = SliceCorrelation()
        if self._has_noise and settings.match.rule == "noise" and settings.match.correlation == "auto":
            shared = slice_correlation(self._filled, valid)
        self.slice_correlation = shared.nearest
        self.partner = choose_partner(shared, len(noisy))
        if shared.nearest:
            self.noise = self.noise.shared(shared.nearest)
            logger.info(
                "neighboring slices share noise (correlation %.2f): slices %d apart teach each other", shared.nearest,
                self.partner.distance,
            )  # fmt: skip

    def denoise(self, stages: Sequence[str], modality: str | None) -> tuple[Float32Array, Float32Array]:
        """Return the denoised volume and the loss at each step of the first fit."""
        if not self._has_noise:
            logger.warning("neighboring slices do not differ by noise: the volume is returned unchanged")
            self.structure = self._checked_structure(self._filled)
            return self._noisy.copy(), np.empty(0, np.float32)
        with reproducible(self._settings.seed):
            restorer = Restorer(self._filled, self.noise, self._settings)
            from_bundle = starts_from_bundle(self._settings.network, self._settings.refit.slices)
            denoised, loss = self._fitted(first_of_two="refit" in stages and from_bundle)
            restorer.small_structures(denoised)
            if "average" in stages:
                self._average(denoised, "average", modality)
            if "refit" in stages:
                self._refit(denoised, restorer, stages, modality)
            restorer.structures_across(denoised)
            restorer.small_structures(denoised, at_the_end=True)
            if "edges" in stages:
                self._filter_edges(denoised)
            restorer.means_and_bounds(denoised)
        self.structure = self._checked_structure(denoised)
        if self._settings.rician and modality == "MR":
            self.bias_taken = self._take_bias(denoised)
        if self._valid is not None:
            denoised[~self._valid] = self._noisy[~self._valid]
        return denoised, loss

    def _fitted(self, first_of_two: bool) -> tuple[Float32Array, Float32Array]:
        """Fit a network, before another or alone; return the volume that it denoised, and the loss at each step."""
        problem = self._problem()
        network = build_network(self._settings.network).to(self._compute.device)
        if starts_from_bundle(self._settings.network):
            load_start(network, slices=1)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        if self._clock.limited:
            started = time.perf_counter()
            one = denoised_batches(network, problem.slices[:1], problem.offset, problem.unit, self._compute)
            next(one)
            self._pass_s = len(self._noisy) * (time.perf_counter() - started)
        loss, self.matched_fraction = fit(
            network,
            problem,
            self._settings,
            self._compute,
            rematch=self._rematcher(),
            first_of_two=first_of_two,
            deadline=self._clock.deadline("fit", self._pass_s),
            progress=self._clock.stage("fit"),
        )
        denoised = np.empty_like(self._noisy)
        tell = self._clock.stage("apply")
        batches = denoised_batches(
            network,
            problem.slices,
            problem.offset,
            problem.unit,
            self._compute,
            problem.error_scale,
        )
        for part, removed in batches:
            np.subtract(self._filled[part], removed * problem.unit, out=denoised[part])
            tell(part.stop / len(denoised))
        return denoised, loss

    def _problem(self) -> Problem:
        """State what is fitted: slices, units and matched regions."""
        settings = self._settings.match
        device = self._compute.device
        by_noise = self._settings.loss.units == "noise"
        error_scale = None
        if by_noise:
            noise_sd = torch.from_numpy(self.noise.sd).to(device)
            error_scale = noise_sd.clamp(min=self.noise.floor).div_(self.noise.median)
        if settings.rule == "noise":
            matched = pairs_by_noise(self._filled, self.noise, settings, self.partner.distance)
        else:
            matched = pairs_by_low_pass(self._filled, self._low, self._high, settings.tau)
        if self._valid is not None:
            matched &= self._valid[self.partner.distance :] & self._valid[: -self.partner.distance]
        return Problem(
            slices=torch.from_numpy(self._filled).to(device),
            offset=0.0 if by_noise else self._low,
            unit=self.noise.median if by_noise else self._high - self._low,
            error_scale=error_scale,
            matched=torch.from_numpy(matched).to(device),
            distance=self.partner.distance,
            correlation=self.partner.correlation,
            valid=None if self._valid is None else torch.from_numpy(self._valid).to(device),
        )

    def _rematcher(self) -> Callable[[nn.Module], Judge] | None:
        """Return what judges the neighbors again by the fitted network, where the settings ask for it."""
        settings = self._settings.match
        if settings.rule != "noise" or settings.refine_at >= 1:
            return None
        return lambda network: Rematch(network, settings, self._compute)

    def _average(self, guide: Float32Array, stage: str, modality: str | None) -> None:
        """Replace the guide by the mean of the noisy voxels that it says are alike."""
        if self._step_px is None:
            sample = evenly_spread(len(guide), _STEP_SLICES)
            self._step_px = step_for(
                [self._filled[index] - guide[index] for index in sample],
                [self.noise.floored(index) for index in sample],
            )
        settings = self._settings.average
        wanted = settings.coarse == "always" or (settings.coarse == "ct" and modality == "CT")
        coarse = wanted and self._step_px > 1
        if coarse and settings.reach is None:
            settings = replace(settings, reach=_REACH_BEFORE_COARSE)
        first = _FIRST_MEAN if coarse else 1.0
        tell = self._clock.stage(stage)
        where: dict[str, Any] = {"step_px": self._step_px, "valid": self._valid, "device": self._compute.device}
        guided_mean(self._filled, guide, self.noise.floored, settings, **where, progress=_part(tell, 0.0, first))
        if coarse:
            coarse_mean(guide, self.noise.floored, settings.coarse_sd, **where, progress=_part(tell, first, 1.0))

    def _filter_edges(self, denoised: Float32Array) -> None:
        """Lower the noise that is left at edges."""
        filter_edges(
            self._filled,
            denoised,
            self.noise.floored,
            self._settings.edges,
            valid=self._valid,
            device=self._compute.device,
            progress=self._clock.stage("edges"),
        )

    def _refit(self, denoised: Float32Array, restorer: Restorer, stages: Sequence[str], modality: str | None) -> None:
        """Replace what is denoised by what a network makes that was fitted to it; to a draft of that, if there is one.

        A better target makes a better network, and the draft is better than what one slice alone could tell.
        """
        settings = self._settings.refit
        second = Refit(self._filled, self.noise, self._settings, self._compute, self._valid)

        def renew(stage: str, mean_stage: str, steps: int) -> None:
            tell = self._clock.stage(stage)
            deadline = self._clock.deadline(stage, self._pass_s)
            self.refit_steps += second.fit(denoised, steps, deadline=deadline, progress=_part(tell, 0.0, _REFIT_SHARE))
            predicted = second.denoise(turned=stage == "refit", progress=_part(tell, _REFIT_SHARE, 1.0))
            restorer.small_structures(predicted)
            denoised[...] = predicted
            if mean_stage in stages:
                self._average(denoised, mean_stage, modality)
            for averaged_hw, predicted_hw in zip(denoised, predicted, strict=True):
                averaged_hw += settings.share * (predicted_hw - averaged_hw)

        if "draft" in stages:
            renew("draft", "average draft", settings.draft_steps)
        renew("refit", "average again", settings.steps - settings.draft_steps)

    def _checked_structure(self, denoised: Float32Array) -> StructureCheck:
        """Judge what was removed, and warn if it does not look like noise."""
        structure = check_structure(
            self._filled,
            denoised,
            self.noise.sd,
            self._settings.structure,
            floor=self.noise.floor,
            valid=self._valid,
        )
        if structure.verdict != "pass":
            logger.warning("what was removed does not look like noise alone: %s", structure.summary())
        return structure

    def _take_bias(self, denoised: Float32Array) -> bool:
        """Take the mean of the noise out of magnitudes; False if the volume is none."""
        if self._low < 0:
            logger.warning("the volume holds negative values, so it is no magnitude: the noise's mean stays")
            return False

        def removed_sd(index: int) -> Float32Array:
            return block_sd(self._filled[index] - denoised[index], None if self._valid is None else self._valid[index])

        removed_sd_blocks = np.stack(for_each_slice(removed_sd, range(len(denoised))))
        channel = channel_noise(self.noise.blocks, denoised, removed_sd_blocks)
        for index, blocks_hw in enumerate(channel.blocks):
            channel_sd = noise_sd_slice(blocks_hw, denoised.shape[1:])
            denoised[index] = without_bias(denoised[index], channel_sd, channel.in_tissue)
        return True
