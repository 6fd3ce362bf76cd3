# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Spectrum of the noise, from differences of neighboring slices, and the part of anatomy in it.

Where slices are thick, neighbors differ by anatomy too, most at the lowest frequencies. Noise of reconstruction by
filtered back-projection has little power there: it rises with frequency, as the ramp filter does, and falls again with
the kernel (Riederer et al., Phys Med Biol 23 (1978) 446-454). That of MR is flat there. Anatomy is told from both by
its form.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import fft, optimize, stats

from nsn2n._aliases import Array, Float32Array
from nsn2n.arrays.either import in_memory_of, namespace, on_device, on_host
from nsn2n.arrays.ranks import median
from nsn2n.stack.sampling import evenly_spread

__all__ = [
    "blocks_of_slice",
    "fourier_spectrum",
    "misfit",
    "noise_alone",
    "noise_level",
    "noise_power",
    "noise_spectrum",
    "of_mean_1",
    "without_anatomy",
]

_SAMPLE_SLICES = 16
"""Slices on which the spectrum is measured."""
_NOISE_ALONE = (0.25, 4.0)
"""Power of a difference of blocks, over that of their noise, where neither an edge nor a clipped value is in them."""
_MEDIAN = 0.4549
"""Of the squares of normally distributed values with the variance 1: of chi-squared with one degree of freedom."""
_LEAST_POWER = 1e-3
"""Lower bound of the power at a frequency, whose mean is 1, where it is a divisor."""

_RISE = (0.5, 0.75, 1.0)
"""Power of noise rises with frequency to one of these,"""
_KERNEL = tuple(np.geomspace(0.06, 1.2, 16))
"""times exp(-(frequency / one of these)^2), cycles per pixel;"""
_LEAST_FLAT = 0.12
"""flat noise does not rise, and its kernel passes this or more, as coarser noise would look like anatomy;"""
_FALL = (2.0, 3.0, 4.0)
"""that of anatomy falls with frequency to the minus one of these,"""
_LOWEST = 1 / 48
"""from this frequency on."""
_COMPARED = 0.02
"""Lower powers, of mean 1, are not compared with the models: the ratio would be that of two small numbers."""
_LEAST_ORDER, _LEAST_ANATOMY = 2, 0.1
"""Of what the level is measured on: sum of the orders of a frequency, and the quantile of the blocks."""
_REST = 0.96
"""Of the level found there; what is left of the anatomy of thick slices adds .02 to .07 to it."""
_SAMPLES = 64
"""Frequencies at which the models are computed, along each axis."""
_UPDATES = 20
"""Steps from the model of a spectrum to the spectrum itself; more would follow the errors of its measurement."""


def noise_spectrum(noisy_dhw: Array, noise_sd: Callable[[int], Array], block_px: int) -> Float32Array:
    """Return the power of the noise at each frequency of a block's cosine transform, of mean 1, float32.

    Parameters are those of :func:`noise_power`; shape (n, n).
    """
    return of_mean_1(noise_power(noisy_dhw, noise_sd, block_px))


def noise_power(
    noisy_dhw: Array,
    noise_sd: Callable[[int], Array],
    block_px: int,
    *,
    valid: Array | None = None,
    above: float | None = None,
) -> Float32Array:
    """Return the power of the noise at each frequency of a block's cosine transform, float32.

    From differences of neighboring slices, the median over blocks, as edges are in few; white if none is usable.

    Parameters
    ----------
    noisy_dhw : array, shape (D, H, W), float32, finite
        D >= 2.
    noise_sd : callable
        Noise sd > 0 of the slice with that index, shape (H, W), same unit.
    block_px : int
        Edge n of the blocks.
    valid : array, shape (D, H, W), bool, optional
        Voxels that hold a measurement; blocks with others do not count, if there are any without. All by default.
    above : float, optional
        Least mean of a block that counts, as the noise of air may have another spectrum than that of tissue; all count
        by default, or if there are none.

    Returns
    -------
    ndarray, shape (n, n)
        Of mean 1 if the noise has that sd.
    """
    power = _powers_of_noise(noisy_dhw, noise_sd, block_px, valid, above)
    if not len(power):
        return np.ones((block_px, block_px), np.float32)
    return np.asarray(on_host(median(power.T)).reshape(block_px, block_px) / _MEDIAN, dtype=np.float32)


def noise_level(
    noisy_dhw: Array,
    noise_sd: Callable[[int], Array],
    spectrum: Float32Array,
    *,
    valid: Array | None = None,
    above: float | None = None,
) -> float:
    """Return the noise over the given one, as sd, in the blocks with least anatomy; 1 if none is usable.

    The frequencies next to 0, at which anatomy differs most, do not count. The result is rather too low than too high,
    as noise that stays harms less than detail that is lost.

    Parameters
    ----------
    noisy_dhw, noise_sd, valid, above :
        As of :func:`noise_power`.
    spectrum : ndarray, shape (n, n), > 0
        Of the noise in blocks, of mean 1.
    """
    power = _powers_of_noise(noisy_dhw, noise_sd, len(spectrum), valid, above)
    order = np.arange(len(spectrum))
    used = (np.add.outer(order, order) >= _LEAST_ORDER) & (spectrum > _COMPARED)
    if not len(power) or not used.any():
        return 1.0
    weights = np.where(used, 1 / (used.sum() * spectrum), 0).astype(np.float32).ravel()
    # Not a product of matrices, whose order of additions depends on the threads of the library that computes it.
    levels = on_host((power * in_memory_of(weights, power)).sum(1))
    of_noise = stats.chi2.ppf(_LEAST_ANATOMY, used.sum()) / used.sum()
    return _REST * float(np.sqrt(np.quantile(levels, _LEAST_ANATOMY) / of_noise))


def of_mean_1(power: Float32Array) -> Float32Array:
    """Return a spectrum without its level, shape (n, n), float32, > 0, of mean 1."""
    return np.asarray(np.maximum(power / power.mean(), _LEAST_POWER), dtype=np.float32)


def without_anatomy(power: Float32Array, *, rises: bool) -> Float32Array:
    """Return the spectrum without the part that falls from the lowest frequencies, as anatomy does.

    Parameters
    ----------
    power : ndarray, shape (n, n), float32, > 0
        Of noise and anatomy, as :func:`noise_power` returns it.
    rises : bool
        Whether that of the noise rises from there, as of CT, or is flat, as of MR.

    Returns
    -------
    ndarray, same shape, float32
    """
    _, of_noise, of_anatomy = _fitted(power, rises=rises)
    total = of_noise + of_anatomy
    share = np.divide(of_noise, total, out=np.ones_like(total), where=total > 0)
    # At high frequencies there is too little of either for their ratio to mean anything.
    half = len(power) // 2
    share[half:] = share[:, half:] = 1
    return np.asarray(power * share, dtype=np.float32)


def misfit(power: Float32Array, *, rises: bool, anatomy: bool) -> float:
    """Return how far a spectrum is from the best of the models: root mean square of their relative differences.

    Parameters
    ----------
    power : ndarray, shape (n, n), float32, > 0
    rises : bool
        Whether noise rises from frequency 0 in the models, or is flat there.
    anatomy : bool
        Whether they have a part that falls from there, too.
    """
    return _fitted(power, rises=rises, anatomy=anatomy)[0]


def _fitted(
    power: Float32Array, *, rises: bool, anatomy: bool = True
) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
    """Return the misfit of the best model, its noise and its anatomy."""
    models, falling = _models(len(power), rises)
    compared = power > _COMPARED * power.mean()
    fits = []
    for of_noise, of_anatomy in itertools.product(models, falling if anatomy else [np.zeros(power.shape)]):
        both = np.stack([of_noise[compared], of_anatomy[compared]], axis=1) / power[compared][:, None]
        amounts, residual = optimize.nnls(both, np.ones(len(both)))
        misfit = float(residual) / math.sqrt(len(both))
        fits.append((misfit, float(amounts[0]) * of_noise, float(amounts[1]) * of_anatomy))
    return min(fits, key=lambda fit: fit[0])


def fourier_spectrum(power: Float32Array, *, rises: bool) -> NDArray[np.float64]:
    """Return the power spectrum that blocks with these powers come from, shape (64, 64), of mean 1.

    A block is too short to separate the lowest frequencies: much of the power at its frequency 0 is that of higher
    ones. The model that fits best is brought to the measured powers by the steps of Richardson (J Opt Soc Am 62 (1972)
    55-59) and Lucy.

    Parameters
    ----------
    power : ndarray, shape (n, n), > 0
        As :func:`noise_power` returns it.
    rises : bool
        Whether it rises from frequency 0, as of CT.
    """
    passed = _passed(len(power))
    measured = power / power.mean()
    compared = measured > _COMPARED

    def difference(model: NDArray[np.float64]) -> float:
        return float(np.square(_of_block(model, passed)[compared] / measured[compared] - 1).sum())

    spectrum = min(
        (_noise(rise, kernel) for kernel in _KERNEL for rise in (_RISE if rises else (0.0,))), key=difference
    )
    for _ in range(_UPDATES):
        spectrum = spectrum / spectrum.mean()
        spectrum *= passed.T @ (measured / _of_block(spectrum, passed)) @ passed
    return np.asarray(spectrum / spectrum.mean())


@cache
def _models(block_px: int, rises: bool) -> tuple[list[NDArray[np.float64]], list[NDArray[np.float64]]]:
    """Powers of noise and of anatomy at the frequencies of a block, each of mean 1."""
    passed, radius = _passed(block_px), _radius()
    kernels = _KERNEL if rises else (*(kernel for kernel in _KERNEL if kernel >= _LEAST_FLAT), np.inf)
    noise = [_of_block(_noise(rise, kernel), passed) for kernel in kernels for rise in (_RISE if rises else (0.0,))]
    return noise, [_of_block(np.maximum(radius, _LOWEST) ** -fall, passed) for fall in _FALL]


def _radius() -> NDArray[np.float64]:
    """Frequencies in cycles per pixel, shape (64, 64)."""
    frequency = np.fft.fftfreq(_SAMPLES)
    return np.asarray(np.hypot(frequency[:, None], frequency))


def _noise(rise: float, kernel: float) -> NDArray[np.float64]:
    radius = _radius()
    return np.asarray(radius**rise * np.exp(-np.square(radius / kernel)))


def _passed(block_px: int) -> NDArray[np.float64]:
    """Power that each frequency of a block's cosine transform gets of each frequency, shape (n, 64)."""
    cosines = fft.dct(np.eye(block_px), axis=0, norm="ortho")
    return np.square(np.abs(np.fft.fft(cosines, _SAMPLES, axis=1)))


def _of_block(spectrum: NDArray[np.float64], passed: NDArray[np.float64]) -> NDArray[np.float64]:
    """Powers of a block for a spectrum, of mean 1, shape (n, n)."""
    power = passed @ spectrum @ passed.T
    return np.asarray(power / power.mean())


def _powers_of_noise(
    noisy_dhw: Array, noise_sd: Callable[[int], Array], block_px: int, valid: Array | None, above: float | None
) -> Array:
    """Powers of the blocks in which differences of neighbors are noise alone, shape (blocks, n * n)."""
    xp = namespace(noisy_dhw)
    powers, means, whole = [], [], []
    for index in evenly_spread(len(noisy_dhw) - 1, _SAMPLE_SLICES):
        sd = xp.hypot(noise_sd(index), noise_sd(index + 1))
        powers.append(_block_powers((noisy_dhw[index + 1] - noisy_dhw[index]) / sd, block_px))
        means.append(blocks_of_slice(0.5 * (noisy_dhw[index + 1] + noisy_dhw[index]), block_px).mean((1, 2)))
        if valid is not None:
            whole.append(blocks_of_slice(valid[index + 1] & valid[index], block_px).all(-1).all(-1))
    power = xp.concatenate(powers)
    alone = noise_alone(power.mean((1, 2)), xp.concatenate(means), xp.concatenate(whole) if whole else None, above)
    return power[alone].reshape(-1, block_px * block_px)


def noise_alone(power: Array, mean: Array, whole: Array | None, above: float | None) -> Array:
    """Return the blocks in which a difference of neighbors is noise alone, shape (blocks,).

    Parameters
    ----------
    power, mean : array, shape (blocks,)
        Mean square of the difference, in noise, and mean of the block in both slices.
    whole : array, same shape, bool, optional
        Whether all voxels of a block hold a measurement. All do by default; others do not count, if there are any that
        do.
    above : float, optional
        Least mean of a block that counts, if there are any.
    """
    alone = (power > _NOISE_ALONE[0]) & (power < _NOISE_ALONE[1])
    if whole is not None and bool((whole & alone).any()):
        alone &= whole
    in_tissue = alone if above is None else alone & (mean > above)
    return in_tissue if bool(in_tissue.any()) else alone


def _block_powers(image_hw: Array, block_px: int) -> Array:
    """Squares of the cosine transform of each block, shape (blocks, block_px, block_px)."""
    blocks = blocks_of_slice(image_hw, block_px)
    if isinstance(blocks, np.ndarray):
        return np.asarray(np.square(fft.dctn(blocks, axes=(1, 2), norm="ortho")), dtype=np.float32)
    transform = on_device(fft.dct(np.eye(block_px), axis=0, norm="ortho").astype(np.float32), blocks.device)
    return (transform @ blocks @ transform.T).square()


def blocks_of_slice(image_hw: Array, block_px: int) -> Array:
    """Blocks that lie side by side, shape (blocks, block_px, block_px)."""
    rows, columns = (size // block_px for size in image_hw.shape)
    cut = image_hw[: rows * block_px, : columns * block_px]
    return cut.reshape(rows, block_px, columns, block_px).swapaxes(1, 2).reshape(-1, block_px, block_px)
