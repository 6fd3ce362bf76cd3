# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Random volumes and random noise to train the starting networks on: shapes, folds, ribbons and textures of no anatomy.

All values are in units of the noise: its standard deviation is 1.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

__all__ = ["SHAPE", "random_noise", "random_volume", "reconstruction_noise", "tissue_volume"]

Volume = NDArray[np.float32]

SHAPE = (11, 112, 112)


def random_volume(random: np.random.Generator) -> Volume:
    """Return a volume without noise, of shape `SHAPE`.

    Folded boundaries, ellipsoids, ribbons, small spots and a texture, of random contrast and sharpness. Structures
    change along the slices up to 4 times as fast as in the plane, as they do where slices are thick.
    """
    stretch = float(random.choice([1.0, 1.0, 1.0, 1.5, 2.0, 4.0]))
    contrast = _log_uniform(random, 1.5, 25.0)
    parts = random.choice(("folds", "ellipsoids", "ribbons", "all"))
    volume = np.zeros(SHAPE, np.float32)
    if parts in ("folds", "all"):
        volume += contrast * _folds(random, stretch)
    if parts in ("ellipsoids", "all"):
        volume += contrast * _ellipsoids(random, stretch)
    if parts == "ribbons" or random.random() < 0.6:
        volume += contrast * _log_uniform(random, 0.3, 1.0) * _ribbons(random, stretch)
    if random.random() < 0.4:
        volume *= _region(random, stretch)
    volume += _log_uniform(random, 0.05, 2.0) * _field(random, random.uniform(2.0, 3.5), stretch)
    volume += _spots(random)
    if random.random() < 0.5:
        blur_px = random.uniform(0.3, 0.9)
        volume = ndimage.gaussian_filter(volume, (0, blur_px, blur_px))
    return volume


def random_noise(random: np.random.Generator, shape: tuple[int, ...], white_share: float) -> Volume:
    """Return noise of unit standard deviation, independent between slices; shape (D, H, W).

    White with that probability, else smooth (interpolated slices), with little power at low frequencies in half the
    cases, as reconstruction from projections makes it.
    """
    noise = random.standard_normal(shape, dtype=np.float32)
    if random.random() < white_share:
        return noise
    radius = np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.rfftfreq(shape[-1])[None])
    gain = np.exp(-np.square(radius / random.uniform(0.12, 0.5)))
    if random.random() < 0.5:
        gain *= (radius + 0.01) ** random.uniform(0.2, 1.0)
    spectrum = np.fft.rfft2(noise, axes=(-2, -1)) * gain
    colored = np.fft.irfft2(spectrum, s=shape[-2:], axes=(-2, -1))
    return np.asarray(colored / colored.std(), dtype=np.float32)


def tissue_volume(random: np.random.Generator) -> Volume:
    """Return a volume without noise, of shape `SHAPE`: as `random_volume`, often fainter, blurred, and of thick slices.

    In a third of them faint sheets lie over each other, as gray and white matter and fluid do.
    """
    stretch = float(random.choice([1, 1, 1.5, 2, 4, 4, 8, 8]))
    contrast = _log_uniform(random, 0.7, 20)
    parts = random.choice(("folds", "ellipsoids", "ribbons", "all", "tissue", "tissue"))
    volume = np.zeros(SHAPE, np.float32)
    if parts in ("folds", "all"):
        volume += contrast * _folds(random, stretch)
    if parts in ("ellipsoids", "all"):
        volume += contrast * _ellipsoids(random, stretch)
    if parts == "ribbons" or (parts != "tissue" and random.random() < 0.6):
        volume += contrast * _log_uniform(random, 0.3, 1) * _ribbons(random, stretch)
    if parts == "tissue":
        for _ in range(random.integers(2, 5)):
            volume += _log_uniform(random, 0.5, 5) * _ribbons(random, stretch)
        if random.random() < 0.7:
            volume += _log_uniform(random, 0.5, 4) * _folds(random, stretch)
    if random.random() < 0.3:
        volume *= _region(random, stretch)
    volume += _log_uniform(random, 0.05, 2) * _field(random, random.uniform(2, 3.5), stretch)
    volume += _spots(random)
    if random.random() < 0.6:
        blur_px = random.uniform(0.4, 1.4)
        volume = ndimage.gaussian_filter(volume, (0, blur_px, blur_px))
    return volume.astype(np.float32)


def reconstruction_noise(random: np.random.Generator, shape: tuple[int, ...]) -> Volume:
    """Return noise of unit standard deviation, independent between slices; shape (D, H, W).

    In seven cases of eight smooth, in three quarters of these with little power at low frequencies, in half of them
    with more in one direction than in the other, as near the rim of a body.
    """
    noise = random.standard_normal(shape, dtype=np.float32)
    if random.random() < 0.12:
        return noise
    height, width = shape[-2:]
    down, right = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    angle = random.uniform(0, math.pi)
    stretch = math.exp(random.uniform(0, 0.9)) if random.random() < 0.5 else 1.0
    along = right * math.cos(angle) + down * math.sin(angle)
    across = -right * math.sin(angle) + down * math.cos(angle)
    radius = np.hypot(along * stretch, across / stretch)
    gain = np.exp(-np.square(radius / random.uniform(0.12, 0.5)))
    if random.random() < 0.75:
        gain = gain * (np.hypot(along, across) + 0.01) ** random.uniform(0.2, 1.0)
    spectrum = np.fft.rfft2(noise, axes=(-2, -1)) * gain
    colored = np.fft.irfft2(spectrum, s=(height, width), axes=(-2, -1))
    return np.asarray(colored / colored.std(), dtype=np.float32)


def _log_uniform(random: np.random.Generator, low: float, high: float) -> float:
    return math.exp(random.uniform(math.log(low), math.log(high)))


def _field(random: np.random.Generator, exponent: float, stretch: float) -> Volume:
    """Random field with a power spectrum that falls as frequency to the minus ``exponent``; unit standard deviation."""
    radius = _frequency(stretch)
    radius[0, 0, 0] = math.inf  # no mean
    return _filtered(random, radius ** (-exponent / 2))


def _wave(random: np.random.Generator, wavelength_px: float, stretch: float) -> Volume:
    """Random field of about one wavelength; unit standard deviation."""
    radius = _frequency(stretch)
    radius[0, 0, 0] = 1e-6
    return _filtered(random, np.exp(-0.5 * np.square(np.log(radius * wavelength_px) / random.uniform(0.15, 0.6))))


def _frequency(stretch: float) -> NDArray[np.float64]:
    """Distance of each frequency from 0, cycles per pixel."""
    depth, height, width = SHAPE
    z, y, x = np.meshgrid(
        np.fft.fftfreq(depth) * stretch, np.fft.fftfreq(height), np.fft.rfftfreq(width), indexing="ij"
    )
    return np.asarray(np.sqrt(z**2 + y**2 + x**2))


def _filtered(random: np.random.Generator, gain: NDArray[np.float64]) -> Volume:
    """White noise with the amplitudes of its frequencies multiplied by a gain; unit standard deviation."""
    spectrum = np.fft.rfftn(random.standard_normal(SHAPE, dtype=np.float32)) * gain
    field = np.fft.irfftn(spectrum, s=SHAPE, axes=(0, 1, 2))
    return np.asarray(field / field.std(), dtype=np.float32)


def _folds(random: np.random.Generator, stretch: float) -> Volume:
    """Steps at the level sets of random fields: winding sheets and islands with sharp or soft boundaries."""
    volume = np.zeros(SHAPE, np.float32)
    for _ in range(random.integers(1, 4)):
        field = _field(random, random.uniform(2.5, 4.5), stretch)
        softness = random.uniform(0.02, 0.15)
        for level in random.uniform(-1.5, 1.5, random.integers(1, 4)):
            volume += random.normal() * 0.5 * (1 + np.tanh((field - level) / (2 * softness)))
    return volume


def _ribbons(random: np.random.Generator, stretch: float) -> Volume:
    """Steps at the level sets of a field of one wavelength, and thin sheets: bands of about one width that wind."""
    wavelength_px = _log_uniform(random, 7.0, 50.0)
    field = _wave(random, wavelength_px, stretch)
    if random.random() < 0.5:  # their width and position vary
        field += random.uniform(0.3, 1.5) * _field(random, random.uniform(3.0, 5.0), stretch)
    per_px = 2 * math.pi / wavelength_px  # change of the field from pixel to pixel, about
    softness = random.uniform(0.25, 0.9) * per_px
    volume = np.zeros(SHAPE, np.float32)
    for level in random.uniform(-1.5, 1.5, random.integers(1, 5)):
        volume += random.normal() * 0.5 * (1 + np.tanh((field - level) / softness))
    if random.random() < 0.4:
        thickness = random.uniform(0.35, 1.0) * per_px
        volume += random.normal() * np.exp(-np.square((field - random.uniform(-1, 1)) / thickness))
    return volume


def _region(random: np.random.Generator, stretch: float) -> Volume:
    """1 in a random part of the volume, 0 elsewhere."""
    field = _field(random, random.uniform(3.0, 5.0), stretch)
    return np.asarray(0.5 * (1 + np.tanh((field - 0.5 * random.normal()) / 0.05)), dtype=np.float32)


def _ellipsoids(random: np.random.Generator, stretch: float) -> Volume:
    """Ellipsoids, turned in the plane and leaning along the slices."""
    z, y, x = (
        np.asarray(axis, np.float32)
        for axis in np.meshgrid(*(np.arange(size) - size / 2 for size in SHAPE), indexing="ij", sparse=True)
    )
    volume = np.zeros(SHAPE, np.float32)
    for _ in range(random.integers(3, 25)):
        center = [random.uniform(-size / 2, size / 2) for size in SHAPE]
        semi_axes = [_log_uniform(random, 1.2, 30.0) for _ in range(3)]
        semi_axes[0] /= stretch
        lean_y, lean_x = random.normal(scale=0.3, size=2)
        angle = random.uniform(0, math.pi)
        dz = z - center[0]
        dy, dx = y - center[1] - lean_y * dz, x - center[2] - lean_x * dz
        along = dy * math.cos(angle) + dx * math.sin(angle)
        across = dx * math.cos(angle) - dy * math.sin(angle)
        radius = np.sqrt((dz / semi_axes[0]) ** 2 + (along / semi_axes[1]) ** 2 + (across / semi_axes[2]) ** 2)
        volume += random.normal() * np.clip((1 - radius) * min(semi_axes[1:]) + 0.5, 0, 1)
    return volume


def _spots(random: np.random.Generator) -> Volume:
    """Discs of 2 to 6 px that are in one or a few slices only, so that these are not taken for noise."""
    depth, height, width = SHAPE
    y, x = np.ogrid[:height, :width]
    volume = np.zeros(SHAPE, np.float32)
    for _ in range(random.integers(0, 60)):
        radius = random.uniform(1.0, 3.0)
        distance = np.hypot(y - random.uniform(0, height), x - random.uniform(0, width))
        first = int(random.integers(depth))
        disc = np.clip(radius - distance + 0.5, 0, 1) * random.choice((-1, 1)) * _log_uniform(random, 2.0, 10.0)
        volume[first : first + int(random.choice([1, 1, 2, 3]))] += disc
    return volume
