# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The noise at edges, lowered by a filter of groups of alike blocks.

A voxel of an edge is like few others, so that the guided mean leaves its noise there. But a small block of an edge is
like those further along it and in the neighboring slices. Such blocks are transformed together; what they share is in
few coefficients, and Wiener's weights, from the same coefficients of the guide, keep these and lower the others.
Source: Dabov et al., IEEE Trans Image Process 16 (2007) 2080-2095, second stage of BM3D; groups over slices as those
over frames in Dabov et al., EUSIPCO 2007 (V-BM3D). The guide, the restriction to edges and what is kept of single
slices are our own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import fft, ndimage
from torch import Tensor

from nsn2n.cpus import for_each_slice
from nsn2n.noise import MAD_TO_SD
from nsn2n.restoring import structure_share
from nsn2n.sampling import evenly_spread
from nsn2n.settings import EdgeSettings

__all__ = ["edge_share", "filter_edges", "noise_spectrum"]

Float32Array = NDArray[np.float32]
Float16Array = NDArray[np.float16]
BoolArray = NDArray[np.bool_]
NoiseOf = Callable[[int], Float32Array]

_BLOCK_PX = 8
"""Edge of the square blocks."""
_STEP_PX = 4
"""Between the blocks for which groups are sought."""
_GROUP = 12
"""Blocks in a group."""
_REACH_PX = 4
"""A group's blocks in the same slice are displaced by no more than this, along each axis,"""
_REACH_SLICES, _SHIFT_PX = 3, 1
"""those in so many slices on each side by no more than that."""
_FREQUENCIES = 3
"""Blocks are compared by so many of their lowest frequencies along each axis."""
_WINDOW_BETA = 2.0
"""Of the Kaiser window: the middle of a block counts more than its rim."""
_GROUPS_AT_ONCE = 512

_EDGE_PX = 5
"""Edge of the square in which values differ where there is an edge."""
_RAMP_SD = 4.0
"""The share of the filter rises from 0 to 1 over this much contrast."""

_LARGEST_SD = 2.0
"""No voxel is changed by more than this many noise sd: what is left at an edge is less."""

_KEPT_PX = (2.0, 1.0)
"""Sizes of the structures of one slice that the filter must leave, as sd of a Gaussian."""

_SAMPLE_SLICES = 16
"""Slices on which the noise's spectrum, and what local means of noise come to, are measured."""
_MEDIAN_OF_SQUARE = 0.4549
"""Median of the square of a normal variable of variance 1."""
_NOISE_ALONE = (0.25, 4.0)
"""Power of a difference of blocks, over that of their noise, where neither an edge nor a clipped value is in them."""
_LEAST_POWER = 1e-3
"""Of a frequency of the noise, whose mean is 1: nothing is divided by less."""


def filter_edges(
    noisy_dhw: Float32Array,
    guide_dhw: Float32Array,
    noise_sd: NoiseOf,
    settings: EdgeSettings,
    *,
    valid: BoolArray | None = None,
    device: torch.device | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Lower the noise that a denoised volume still has at its edges, in place.

    Parameters
    ----------
    noisy_dhw : ndarray, shape (D, H, W), float32, finite
        D >= 2. Slices of fewer than 8 rows or columns stay as they are.
    guide_dhw : ndarray, same shape and unit
        Denoised volume; overwritten at its edges.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    settings : EdgeSettings
    valid : ndarray, same shape, bool, optional
        Voxels that hold a measurement; the others stay as they are.
    device : torch.device, optional
        Where to compute; the CPU by default.
    progress : callable, optional
        Called with the fraction done.
    """
    depth, *shape_hw = noisy_dhw.shape
    if min(shape_hw) < _BLOCK_PX:
        return

    shares = _shares(guide_dhw, noise_sd, settings.contrast_sd, valid)
    taken = np.empty(guide_dhw.shape, np.float16)
    groups = _Groups(shape_hw, noise_spectrum(noisy_dhw, noise_sd) * settings.noise_factor, device)
    loaded = 0
    for index in range(depth + _REACH_SLICES):
        while loaded < min(index + _REACH_SLICES + 1, depth):
            groups.load(loaded, noisy_dhw[loaded], guide_dhw[loaded], noise_sd(loaded))
            loaded += 1
        if index < depth:
            groups.filter(index, shares[index] > 0, range(max(index - _REACH_SLICES, 0), loaded))
        finished = index - _REACH_SLICES
        if finished >= 0:
            change = guide_dhw[finished] / noise_sd(finished) - groups.result(finished)
            taken[finished] = np.clip(change, -_LARGEST_SD, _LARGEST_SD)
        if progress is not None:
            progress((index + 1) / (depth + _REACH_SLICES))
    mean_sd = {sigma_px: _mean_sd(taken, shares, sigma_px) for sigma_px in _KEPT_PX}

    def take(index: int) -> None:
        share = shares[index] * (1 - _kept(taken[index], mean_sd, settings.keep_sd))
        guide_dhw[index] -= share * taken[index] * noise_sd(index)

    for_each_slice(take, depth)


def edge_share(denoised_hw: Float32Array, noise_sd_hw: Float32Array, contrast_sd: float) -> Float32Array:
    """Return how far each pixel is at an edge, 0 to 1, shape (H, W), float32.

    Parameters
    ----------
    denoised_hw : ndarray, shape (H, W), float32
    noise_sd_hw : ndarray, same shape
        Noise sd > 0 of the noisy slice, same unit.
    contrast_sd : float
        Difference of the greatest and the least value around it, in units of the noise sd, from which it is at one.
    """
    greatest = ndimage.maximum_filter(denoised_hw, _EDGE_PX)
    least = ndimage.minimum_filter(denoised_hw, _EDGE_PX)
    return np.asarray(np.clip(((greatest - least) / noise_sd_hw - contrast_sd) / _RAMP_SD, 0, 1), dtype=np.float32)


def _shares(guide_dhw: Float32Array, noise_sd: NoiseOf, contrast_sd: float, valid: BoolArray | None) -> Float16Array:
    """Each slice's :func:`edge_share`, 0 where there is no measurement, shape (D, H, W)."""
    shares = np.empty(guide_dhw.shape, np.float16)

    def find(index: int) -> None:
        shares[index] = edge_share(guide_dhw[index], noise_sd(index), contrast_sd)
        if valid is not None:
            shares[index][~valid[index]] = 0

    for_each_slice(find, len(guide_dhw))
    return shares


def noise_spectrum(noisy_dhw: Float32Array, noise_sd: NoiseOf) -> Float32Array:
    """Return the power of the noise at each frequency of a block's cosine transform, of mean 1, shape (8, 8), float32.

    From differences of neighboring slices; parameters as of :func:`filter_edges`. White where no block is of use.
    """
    powers = []
    for index in evenly_spread(len(noisy_dhw) - 1, _SAMPLE_SLICES):
        sd = np.hypot(noise_sd(index), noise_sd(index + 1))
        powers.append(_block_powers((noisy_dhw[index + 1] - noisy_dhw[index]) / sd))
    power = np.concatenate(powers)
    mean = power.mean(axis=(1, 2))
    power = power[(mean > _NOISE_ALONE[0]) & (mean < _NOISE_ALONE[1])]
    if not len(power):
        return np.ones((_BLOCK_PX, _BLOCK_PX), np.float32)
    spectrum = np.median(power, axis=0) / _MEDIAN_OF_SQUARE
    return np.asarray(np.maximum(spectrum / spectrum.mean(), _LEAST_POWER), dtype=np.float32)


def _block_powers(image_hw: Float32Array) -> Float32Array:
    """Squares of the cosine transform of each block, shape (blocks, 8, 8)."""
    rows, columns = (size // _BLOCK_PX for size in image_hw.shape)
    cut = image_hw[: rows * _BLOCK_PX, : columns * _BLOCK_PX]
    blocks = cut.reshape(rows, _BLOCK_PX, columns, _BLOCK_PX).swapaxes(1, 2).reshape(-1, _BLOCK_PX, _BLOCK_PX)
    return np.asarray(np.square(fft.dctn(blocks, axes=(1, 2), norm="ortho")), dtype=np.float32)


def _mean_sd(taken_dhw: Float16Array, shares_dhw: Float16Array, sigma_px: float) -> float:
    """Standard deviation, robust, of the local means of what is taken at edges; 0 where there are none."""

    def at_edges(index: int) -> Float32Array:
        return np.asarray(np.abs(_local_mean(taken_dhw[index], sigma_px)[shares_dhw[index] > 0.5]))

    means = np.concatenate([at_edges(index) for index in evenly_spread(len(taken_dhw), _SAMPLE_SLICES)])
    return float(np.median(means)) * MAD_TO_SD if means.size else 0.0


def _kept(taken_hw: Float16Array, mean_sd: Mapping[float, float], keep_sd: float) -> Float32Array:
    """Return how far each pixel is of a structure, which must not be taken, 0 to 1, shape (H, W)."""
    shares = [structure_share(_local_mean(taken_hw, sigma_px), sd, keep_sd) for sigma_px, sd in mean_sd.items()]
    return np.asarray(np.maximum.reduce(shares), dtype=np.float32)


def _local_mean(taken_hw: Float16Array, sigma_px: float) -> Float32Array:
    return np.asarray(ndimage.gaussian_filter(taken_hw.astype(np.float32), sigma_px), dtype=np.float32)


class _Groups:
    """Finds groups of alike blocks and filters them, of the slices that are loaded: noise has the sd 1 in them.

    Slices take turns in as many places as groups reach. Pixels of all of them are counted in one row.
    """

    def __init__(self, shape_hw: list[int], noise_power: Float32Array, device: torch.device | None) -> None:
        self._device = device
        self._height, self._width = shape_hw
        self._rows, self._columns = (size - _BLOCK_PX + 1 for size in shape_hw)
        self._places = 2 * _REACH_SLICES + 1
        pixels = self._height * self._width
        self._noisy, self._guide, self._total, self._weight = (
            torch.zeros(self._places * pixels, device=device) for _ in range(4)
        )
        blocks = self._rows * self._columns
        self._features = torch.zeros(self._places * blocks, _FREQUENCIES**2, device=device)
        self._noise_power = self._tensor(noise_power.ravel())
        transform = fft.dct(np.eye(_BLOCK_PX), axis=0, norm="ortho")
        self._in_block = self._tensor(np.kron(transform, transform))
        self._over_group = self._tensor(fft.dct(np.eye(_GROUP), axis=0, norm="ortho"))
        lowest = self._in_block.reshape(_BLOCK_PX, _BLOCK_PX, 1, _BLOCK_PX, _BLOCK_PX)[:_FREQUENCIES, :_FREQUENCIES]
        sd = self._noise_power.reshape(_BLOCK_PX, _BLOCK_PX)[:_FREQUENCIES, :_FREQUENCIES].sqrt()
        self._kernels = (lowest / sd[..., None, None, None]).flatten(0, 1)
        window = np.kaiser(_BLOCK_PX, _WINDOW_BETA)
        self._window = self._tensor(np.outer(window, window).ravel())
        in_block = torch.arange(_BLOCK_PX, device=device)
        self._pixels_of_block = (in_block[:, None] * self._width + in_block).ravel()

    def load(self, index: int, noisy_hw: Float32Array, guide_hw: Float32Array, noise_sd_hw: Float32Array) -> None:
        """Put a slice in the place of one that is no longer needed."""
        place = index % self._places
        pixels = slice(place * noisy_hw.size, (place + 1) * noisy_hw.size)
        self._noisy[pixels] = self._tensor(noisy_hw / noise_sd_hw).ravel()
        guide = self._tensor(guide_hw / noise_sd_hw)
        self._guide[pixels] = guide.ravel()
        self._total[pixels] = 0
        self._weight[pixels] = 0
        count = self._rows * self._columns
        features = F.conv2d(guide[None, None], self._kernels)[0]
        self._features[place * count : (place + 1) * count] = features.flatten(1).T

    def filter(self, index: int, at_edge_hw: BoolArray, slices: range) -> None:
        """Filter the groups of the blocks of a slice that hold a pixel of an edge; what is alike is in ``slices``."""
        grid_rows, grid_columns = self._grid(self._rows), self._grid(self._columns)
        in_rows = torch.from_numpy(at_edge_hw).to(self._device).unfold(0, _BLOCK_PX, 1)[grid_rows].any(-1)
        wanted = in_rows.unfold(1, _BLOCK_PX, 1)[:, grid_columns].any(-1)
        at_row, at_column = wanted.nonzero(as_tuple=True)
        rows, columns = grid_rows[at_row], grid_columns[at_column]
        for group in range(0, len(rows), _GROUPS_AT_ONCE):
            part = slice(group, group + _GROUPS_AT_ONCE)
            self._filter(self._alike(index, rows[part], columns[part], slices))

    def result(self, index: int) -> Float32Array:
        """The slice as filtered, and as guide where no group has a block, shape (H, W)."""
        pixels = self._height * self._width
        part = slice(index % self._places * pixels, (index % self._places + 1) * pixels)
        filtered = self._total[part] / self._weight[part]
        result = torch.where(self._weight[part] > 0, filtered, self._guide[part])
        return np.asarray(result.reshape(self._height, self._width).cpu().numpy())

    def _alike(self, index: int, rows: Tensor, columns: Tensor, slices: range) -> Tensor:
        """First pixels of the blocks of each group, shape (groups, 12), most alike first."""
        distances, pixels = [], []
        own = self._features[self._block(index, rows, columns)][:, None]
        for other in slices:
            reach = _REACH_PX if other == index else _SHIFT_PX
            span = torch.arange(-reach, reach + 1, device=self._device)
            down, right = (shift.ravel() for shift in torch.meshgrid(span, span, indexing="ij"))
            to_row, to_column = rows[:, None] + down, columns[:, None] + right
            at_row, at_column = to_row.clamp(0, self._rows - 1), to_column.clamp(0, self._columns - 1)
            distance = (self._features[self._block(other, at_row, at_column)] - own).square().sum(-1)
            distance[(at_row != to_row) | (at_column != to_column)] = torch.inf
            distances.append(distance)
            first = other % self._places * self._height * self._width
            pixels.append(first + at_row * self._width + at_column)
        nearest = torch.cat(distances, 1).topk(_GROUP, largest=False).indices
        return torch.cat(pixels, 1).gather(1, nearest)

    def _filter(self, first_pixels: Tensor) -> None:
        """Filter groups of blocks, and add what comes of them to the slices."""
        pixels = first_pixels[..., None] + self._pixels_of_block
        noisy, guide = (self._over_group @ values[pixels] @ self._in_block.T for values in (self._noisy, self._guide))
        power = guide.square_()
        share = power / (power + self._noise_power)
        blocks = self._over_group.T @ (noisy.mul_(share)) @ self._in_block
        # What is made of fewer coefficients holds less noise.
        noise_left = share.square_() @ self._noise_power
        weight = self._window / (noise_left.sum(1)[:, None, None] + _LEAST_POWER)
        self._total.index_add_(0, pixels.ravel(), blocks.mul_(weight).ravel())
        self._weight.index_add_(0, pixels.ravel(), weight.expand_as(blocks).ravel())

    def _block(self, index: int, rows: Tensor, columns: Tensor) -> Tensor:
        return (index % self._places * self._rows + rows) * self._columns + columns

    def _grid(self, positions: int) -> Tensor:
        """Return positions a step apart, and the last."""
        grid = torch.arange(0, positions + _STEP_PX - 1, _STEP_PX, device=self._device)
        return grid.clamp_(max=positions - 1)

    def _tensor(self, values: NDArray[np.floating]) -> Tensor:
        return torch.from_numpy(np.asarray(values, dtype=np.float32)).to(self._device)
