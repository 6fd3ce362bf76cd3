# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated copy of a part of the volume with known truth: its loss of detail can be measured, not guessed.

The truth of the copy is what filters that keep most detail make of that part; simulated noise of the measured level and
spectrum is added to it. Processed by the same stages, with the fitted networks, it shows what they remove from such
anatomy: the parametric bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993).

Where strong edges and vessels, which no filter loses, are most of the detail, the loss is that of the faint detail
alone if that fills the tissue between them, as in a head, or is more than noise alone makes, as small vessels of the
lung.

That truth is the mean of the results of two filters. A filter recovers all the detail that it kept itself in the first
place: on a truth that it produced it seems to lose less than it does, and in CT and PET one of the two filters the
volume.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nsn2n._aliases import Array
from nsn2n.arrays.either import contiguous, copied, deviation, divided, float32, in_memory_of, namespace, on_host
from nsn2n.arrays.planes import gaussian, maximum
from nsn2n.arrays.ranks import median
from nsn2n.filters.block_transform import BLOCK_PX as STACK_PX
from nsn2n.filters.cube_filter import filter_cubes
from nsn2n.filters.cubes import CUBE_PX
from nsn2n.filters.group_filter import filter_groups
from nsn2n.noise.blocks import BLOCK_PX, MAD_TO_SD
from nsn2n.noise.level import NoiseMap
from nsn2n.noise.simulated import simulated_noise
from nsn2n.noise.spectrum import noise_spectrum

__all__ = ["SimulatedCopy", "simulated_copy"]

_SLICES, _EDGE_PX = 12, 224
"""Maximum slices of the part that is copied."""
_SHARE = 0.1
"""Largest fraction of the volume that is copied, so that it takes a small part of the run time,"""
_LEAST_EDGE_PX = 96
"""unless its edge would be shorter than this."""
_COUNTED_SD = 0.5
"""Detail beyond this many noise sd counts no more when the part is chosen: it should be full of faint detail, not hold
the strongest structures, which are lost least."""
_DETAIL_PX = 6.0
"""Detail is the difference of an image from its Gaussian mean of this sd."""
_FAINT_SD = 8.0
"""Detail beyond this many noise sd is a strong edge, which no filter loses: nothing is measured there,"""
_AWAY_PX = 6
"""nor within this many pixels of it."""
_FAINTER_SD = 5.0
"""The same for faint detail alone."""
_UNEVEN, _EVEN = 0.25, 0.4
"""Squared mean of the local power of detail over the mean of its square: up to the first it is isolated structures,
above the second it fills the tissue,"""
_PARTLY, _FULL = 0.35, 0.5
"""and up to the first of these some parts of it, above the second all."""
_UNSURE, _SURE = 1.2, 1.5
"""Detail over the error of that estimate, root mean squares: up to the first the detail may be noise left by the
estimate, above the second it is anatomy."""
_HOMOGENEOUS, _DETAILED, _FILLED = 1.3, 1.45, 3.0
"""Square of the ratio of median detail in the result of the fit to that of noise alone: up to the first it is noise,
with isolated structures at most, above the second anatomy fills the tissue, be it ever so faint, and at the third it
is most of the detail."""
_HARDLY, _CLEARLY = 2.5, 3.5
"""The same ratio where detail is faint: up to the first, the loss of faint detail alone is not that of anatomy, above
the second it is, be it ever so isolated."""
_STANDS_OUT_SD, _FEWEST_STANDING_OUT = 4.5, 200
"""In homogeneous tissue, detail beyond this many robust standard deviations of it is that of structures; with fewer
pixels of it there are none."""
_FINEST_PX = 1.5
"""Detail is compared with that of noise alone without what a Gaussian mean of this sd removes: it is noise mostly."""
_FEWEST_PIXELS, _FEWEST_COMPARED = 2000, 10_000
"""Pixels on which certainty and evenness, and the excess, are measured."""
_STACKS, _CUBES, _NOISE_FACTOR, _SHARE_OF_FIT = 8, 12, 1.0, 0.2
"""Settings of the filters that make the truth: those with the smallest error."""
_STEP_PX = 3
"""Between the cubes. Every second pixel would take twice the time and report the same losses."""


@dataclass(frozen=True, slots=True)
class SimulatedCopy:
    """A part of a volume, its truth, and the same with noise. Arrays have the shape (d, h, w)."""

    place: tuple[slice, slice, slice]
    """Where in the volume it is."""
    truth: Array
    noisy: Array
    noise: NoiseMap
    valid: Array | None
    faint: Array
    """Where detail is measured: away from strong edges."""
    fainter: Array
    """The same for faint detail alone."""
    certainty: float = 0.0
    """0 if the detail of the truth may be noise that its filter left, 1 if it is anatomy."""
    share_of_fainter: float = 0.0
    """Weight of the loss of faint detail alone."""
    evenness: float = 0.0
    """Squared mean of the local power of its detail over the mean of the square: 1 if that is the same everywhere."""
    excess: float = math.nan
    """Median detail in the result of the fit over that of noise alone, both in units of what it removed, as powers; NaN
    where it was not measured."""

    @property
    def homogeneity(self) -> float:
        """0 if the tissue is full of detail, 1 if nothing but noise and isolated structures is in it."""
        return 0.0 if math.isnan(self.excess) else 1 - _ramp(self.excess, _HOMOGENEOUS, _DETAILED)

    @property
    def fullness(self) -> float:
        """1 if the tissue is full of detail, 0 if it is homogeneous or its detail is isolated structures."""
        return _ramp(self.evenness, _PARTLY, _FULL) * (1 - self.homogeneity)

    @property
    def has_detail(self) -> bool:
        """Whether there is detail that is not noise, so that its loss means something."""
        return self.certainty > 0 and (self.homogeneity < 1 or self._structures() is not None)

    def sized_up(self, pilot: Array, device: torch.device | None = None) -> SimulatedCopy:
        """Return the copy with its certainty, and with the weight of faint detail alone.

        Detail of the truth is compared with the error of the filter that made it.

        Parameters
        ----------
        pilot : array, shape (d, h, w)
            The result of the fit for the noisy copy.
        device : torch.device, optional
        """
        estimate = copied(pilot)
        _filter_as_truth(self.noisy, estimate, self.noise, self.valid, device)
        error = _detail(estimate - self.truth)
        of_all, of_fainter = (self._certainty(error, where) for where in (self.faint, self.fainter))
        evenness = self._evenness(self.faint)
        isolated, filling = 1 - _ramp(evenness, _UNEVEN, _EVEN), _ramp(self._evenness(self.fainter), _UNEVEN, _EVEN)
        share = isolated * filling * of_fainter
        certainty = of_all + share * (of_fainter - of_all)
        return replace(self, certainty=certainty, share_of_fainter=share, evenness=evenness)

    def without_detail(self, pilot: Array, seed: int) -> SimulatedCopy:
        """Return a copy of the part without its detail, with noise of its own.

        Parameters
        ----------
        pilot : array, shape (d, h, w)
            The result of the fit for the part itself.
        seed : int
            Of the noise.
        """
        blank = gaussian(pilot, _DETAIL_PX)
        noisy = _with_noise(blank, self.noisy, self.noise, seed)
        if self.valid is not None:
            noisy[~self.valid] = self.noisy[~self.valid]
        return replace(self, truth=blank, noisy=noisy)

    def compared(self, part: Array, pilot: Array, blanks: Sequence[tuple[SimulatedCopy, Array]]) -> SimulatedCopy:
        """Return the copy with what the detail of the part exceeds that of noise alone by, and its certainty by that.

        Parameters
        ----------
        part, pilot : array, shape (d, h, w)
            The part of the volume itself, and the result of the fit for it.
        blanks : sequence of (SimulatedCopy, array of that shape)
            Copies without detail, with different noise each, and the result of the fit for each.
        """

        def excess(where: Array) -> float:
            def typical(values: Array) -> float:
                return float(median(abs(self._in_noise(values, where))))

            def detail_in_noise(detailed: Array, removed: Array) -> float:
                # What was removed tells the level of the noise, which simulation may miss.
                detail = typical(gaussian(detailed, _FINEST_PX) - gaussian(detailed, _DETAIL_PX))
                of_removed = typical(removed)
                return detail / of_removed if of_removed else math.inf

            if where.sum() < _FEWEST_COMPARED:
                return math.nan
            alone = sum(detail_in_noise(result - of.truth, of.noisy - result) for of, result in blanks) / len(blanks)
            return (detail_in_noise(pilot, part - pilot) / alone) ** 2 if alone else math.inf

        of_all, of_fainter = excess(self.faint), excess(self.fainter)
        return replace(
            self,
            excess=of_all,
            certainty=max(self.certainty, _ramp(of_all, _DETAILED, _FILLED)),
            share_of_fainter=max(self.share_of_fainter, _ramp(of_fainter, _HARDLY, _CLEARLY)),
        )

    def detail_lost(self, denoised: Array) -> float:
        """Return the fraction of the detail that was removed, 0 to 1 and slightly beyond; 0 if there is none.

        It is the regression of what was removed on the detail of the truth, which is independent of the noise. In
        homogeneous tissue most of that detail is noise that the truth holds: there structures alone count.
        """
        share, removed = self.share_of_fainter, self.noisy - denoised
        lost = (1 - share) * self._lost(removed, self.faint)
        if share:
            lost += share * self._lost(removed, self.fainter)
        return lost + self.homogeneity * (self._lost_by_structures(removed) - lost) if self.homogeneity else lost

    def noise_left(self, denoised: Array) -> float:
        """Return the residual noise as a ratio of standard deviations, away from strong edges."""
        where = self.faint if bool(self.faint.any()) else namespace(self.faint).ones_like(self.faint)
        error, noise = (denoised - self.truth)[where], (self.noisy - self.truth)[where]
        detail = _detail(self.truth)[where]
        square = float((detail**2).sum())
        if square:
            error = error - float((error * detail).sum()) / square * detail
        of_noise = deviation(noise)
        return deviation(error) / of_noise if of_noise else 0.0

    def _lost(self, removed: Array, where: Array) -> float:
        return self._regression(removed, self._detail_of(where), where)

    def _lost_by_structures(self, removed: Array) -> float:
        structures = self._structures()
        return 0.0 if structures is None else self._regression(removed, _detail(self.truth), structures)

    def _structures(self) -> Array | None:
        """Voxels whose detail stands out; None if there are few."""
        detail = _detail(self.truth)
        limit = _STANDS_OUT_SD * MAD_TO_SD * float(median(abs(self._in_noise(detail, self.faint))))
        structures = self.faint & (abs(detail) > limit * self.noise.sd.clip(min=self.noise.floor))
        return structures if int(structures.sum()) >= _FEWEST_STANDING_OUT else None

    def _regression(self, values: Array, detail: Array, where: Array) -> float:
        of_detail, of_values = (self._in_noise(array, where) for array in (detail, values))
        square = float((of_detail**2).sum())
        return float((of_values * of_detail).sum()) / square if square else 0.0

    def _certainty(self, error: Array, where: Array) -> float:
        """Compare the detail of the truth with an error, to which it would be equal if it were noise."""
        if where.sum() < _FEWEST_PIXELS:
            return 0.0
        squares = (float((self._in_noise(values, where) ** 2).mean()) for values in (self._detail_of(where), error))
        of_detail, of_error = squares
        if not of_detail:
            return 0.0
        return _ramp(math.sqrt(of_detail / of_error), _UNSURE, _SURE) if of_error else 1.0

    def _evenness(self, where: Array) -> float:
        """Return how evenly the detail of the truth is distributed; 0 of too few voxels."""
        if where.sum() < _FEWEST_PIXELS:
            return 0.0
        sd = self.noise.sd.clip(min=self.noise.floor)
        power = namespace(sd).where(where, (self._detail_of(where) / sd) ** 2, 0.0)
        local = divided(gaussian(power, _DETAIL_PX), gaussian(float32(where), _DETAIL_PX))[where]
        square = float((local**2).mean())
        return float(local.mean()) ** 2 / square if square else 0.0

    def _detail_of(self, where: Array) -> Array:
        """Detail of the truth; of faint detail alone without the tails of edges, in whose place a mean is filled in."""
        if where is self.faint:
            return _detail(self.truth)
        xp = namespace(self.truth)
        mean = gaussian(xp.where(where, self.truth, 0.0), _DETAIL_PX)
        return _detail(xp.where(where, self.truth, divided(mean, gaussian(float32(where), _DETAIL_PX))))

    def _in_noise(self, values: Array, where: Array) -> Array:
        """Values at some voxels, shape (n,), in noise sd."""
        return namespace(values).concatenate(
            [values[index][some] / self.noise.floored(index)[some] for index, some in enumerate(where)]
        )


def simulated_copy(
    filled: Array,
    pilot: Array,
    noise: NoiseMap,
    valid: Array | None,
    *,
    seed: int,
    device: torch.device | None = None,
) -> SimulatedCopy:
    """Simulate a copy of the part of a volume that has most faint detail.

    Parameters
    ----------
    filled : array, shape (D, H, W), float32, finite
    pilot : array, same shape
        The result of the fit for it.
    noise : NoiseMap
    valid : array, same shape, bool, optional
        Voxels that hold a measurement; all by default.
    seed : int
        Seed of the noise that is added.
    device : torch.device, optional
        Where to compute; the CPU by default.
    """
    place = _place(pilot, noise, valid)
    part, local = contiguous(filled[place]), noise.part(place)
    usable = None if valid is None else valid[place]
    truth = copied(pilot[place])
    _filter_as_truth(part, truth, local, usable, device)
    noisy = _with_noise(truth, part, local, seed)
    if usable is not None:
        noisy[~usable] = part[~usable]
        truth[~usable] = part[~usable]
    faint, fainter = (_faint(truth, local, usable, edge_sd) for edge_sd in (_FAINT_SD, _FAINTER_SD))
    return SimulatedCopy(place, truth, noisy, local, usable, faint, fainter)


def _ramp(value: float, none: float, whole: float) -> float:
    """Return 0 up to the one and for NaN, 1 from the other, and in between a linear transition."""
    return 0.0 if math.isnan(value) else min(max((value - none) / (whole - none), 0.0), 1.0)


def _with_noise(clean: Array, like: Array, noise: NoiseMap, seed: int) -> Array:
    """Add simulated noise of the level and spectrum of that in another volume."""
    power = noise.spectra.get(STACK_PX)
    if power is None:
        power = noise_spectrum(like, noise.floored, STACK_PX)
    fresh = simulated_noise(like.shape, power, seed, rises=noise.rises, along=noise.along)
    return float32(clean + in_memory_of(fresh, clean) * noise.sd)


def _filter_as_truth(
    noisy: Array,
    pilot: Array,
    noise: NoiseMap,
    valid: Array | None,
    device: torch.device | None,
) -> None:
    """Replace a pilot by the mean of the two estimates that keep most detail for their residual noise."""
    of_groups = copied(pilot)
    filter_groups(
        noisy,
        of_groups,
        noise.floored,
        stacks=_STACKS,
        noise_factor=_NOISE_FACTOR,
        spectrum=noise.spectra.get(STACK_PX),
        along=noise.along,
        valid=valid,
        device=device,
    )
    filter_cubes(
        noisy,
        pilot,
        noise.floored,
        cubes=_CUBES,
        noise_factor=_NOISE_FACTOR,
        share=_SHARE_OF_FIT,
        spectrum=noise.spectra.get(CUBE_PX),
        along=noise.along,
        step_px=_STEP_PX,
        valid=valid,
        device=device,
    )
    pilot += of_groups
    pilot *= 0.5


def _place(pilot: Array, noise: NoiseMap, valid: Array | None) -> tuple[slice, slice, slice]:
    """Slices in the middle of the volume, and of them the rows and the columns with most faint detail.

    Not the square with most: structures would be strongest there, and detail elsewhere would be lost more.
    """
    depth, height, width = pilot.shape
    slices = min(depth, _SLICES)
    share_px = math.sqrt(_SHARE * math.prod(pilot.shape) / slices)
    edge = min(_EDGE_PX, max(_LEAST_EDGE_PX, int(share_px) // BLOCK_PX * BLOCK_PX))
    first = (depth - slices) // 2
    middle = slice(first, first + slices)
    detail = namespace(pilot).zeros_like(pilot[0])
    for index in range(*middle.indices(depth))[::3]:
        part = slice(index, index + 1)
        faint = _faint(pilot[part], noise.part(part), None)[0]
        if valid is not None:
            faint &= valid[index]
        detail += faint * abs(_detail(pilot[part])[0] / noise.floored(index)).clip(max=_COUNTED_SD)
    starts = []
    for axis, size in enumerate((height, width)):
        length = min(edge, size)
        window = np.convolve(on_host(detail.sum(1 - axis)), np.ones(length), mode="valid")
        starts.append(slice(int(window.argmax()), int(window.argmax()) + length))
    return middle, starts[0], starts[1]


def _detail(volume: Array) -> Array:
    return volume - gaussian(volume, _DETAIL_PX)


def _faint(volume: Array, noise: NoiseMap, valid: Array | None, edge_sd: float = _FAINT_SD) -> Array:
    """Voxels that, with those around them, are not at a strong edge."""
    strong = abs(_detail(volume)) > edge_sd * noise.sd.clip(min=noise.floor)
    if valid is not None:
        strong |= ~valid
    return ~maximum(strong, 2 * _AWAY_PX + 1)
