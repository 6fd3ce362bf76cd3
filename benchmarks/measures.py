# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The measures of the benchmark: one function of arrays for each, and `measure` for a case.

from measures import measure
print(measure(case, output))
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from cases import Case
from numpy.typing import NDArray
from rods import edge_steepness, rod_noise
from scipy import ndimage
from skimage.metrics import structural_similarity
from spots import KINDS, Kind, contrast_kept

__all__ = ["MEASURES", "NoiseSpectrum", "measure", "noise_power_spectrum", "psnr", "ssim", "structure_removed"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
Double = NDArray[np.float64]

NPS_BANDS_PER_MM = {"low": (0.0, 0.1), "mid": (0.1, 0.3), "high": (0.3, math.inf)}
NPS_ROI_PX = 32


def spot_column(kind: Kind) -> str:
    """Return the name of the measure of one kind of spot."""
    return f"kept_{kind.noise_sds}sd_{kind.slices}sl_{kind.diameter_px}px"


MEASURES: tuple[str, ...] = (
    "psnr", "ssim", "psnr_tissue", "mean_error", "noise_sd", "nps_low", "nps_mid", "nps_high", "nps_mean_frequency",
    "rod_noise_sd", "rod_mean", "edge_steepness", "structure_removed", "change_rms", "change_max", "feature_kept",
    *(spot_column(kind) for kind in KINDS),
)  # fmt: skip
"""All that `measure` can return; which of them depends on the case."""


def measure(case: Case, output: Volume, with_spots: Volume | None = None) -> dict[str, float]:
    """Measure an output in the measured slices of its case.

    Parameters
    ----------
    case : Case
    output : ndarray, shape (D, H, W)
        Denoised ``case.noisy``.
    with_spots : ndarray, shape (D, H, W), optional
        Denoised ``case.with_spots``.

    Returns
    -------
    dict
        Some of `MEASURES`: decibels, fractions of 1, or the unit of the volume; benchmarks/README.md describes each.
    """
    found: dict[str, float] = {}
    if case.base.startswith(("mr-", "ct-lowdose-")):
        found |= _against_truth(case, output)
    if case.base.startswith("ct-lowdose-"):
        found |= _noise_texture(case, output)
    if case.rods is not None:
        found |= _in_rods(case, output)
    if not case.base.startswith(("mr-", "ct-")):
        found |= _harm(case, output)
    if with_spots is not None and case.spots:
        kept = contrast_kept(with_spots, output, case.spots)
        found |= {spot_column(kind): fraction for kind, fraction in kept.items()}
    return found


def _against_truth(case: Case, output: Volume) -> dict[str, float]:
    assert case.truth is not None
    part = case.measured
    shown, truth, tissue = output[part], case.truth[part], case.tissue[part]
    low, high = case.window or (-np.inf, np.inf)
    clipped, clipped_truth = np.clip(shown, low, high), np.clip(truth, low, high)
    return {
        "psnr": psnr(clipped, clipped_truth, data_range=case.data_range),
        "ssim": ssim(clipped, clipped_truth, case.data_range),
        "psnr_tissue": psnr(shown, truth, tissue, case.data_range),
        "mean_error": float((shown - truth)[tissue].mean(dtype=np.float64)),
    }


def _noise_texture(case: Case, output: Volume) -> dict[str, float]:
    assert case.truth is not None
    part = case.measured
    error, tissue = output[part] - case.truth[part], case.tissue[part]
    found = {"noise_sd": float(error[tissue].std(dtype=np.float64))}
    spectrum = noise_power_spectrum(error, tissue, case.spacing_mm[1:], NPS_ROI_PX)
    if spectrum is not None:
        found |= {f"nps_{name}": spectrum.band_sd(*band) for name, band in NPS_BANDS_PER_MM.items()}
        found["nps_mean_frequency"] = spectrum.mean_frequency()
    return found


def _in_rods(case: Case, output: Volume) -> dict[str, float]:
    assert case.rods is not None
    rods = case.rods.within(case.measured.start, case.measured.stop)
    noise_sd, mean = rod_noise(output, rods)
    found = {"rod_noise_sd": noise_sd, "rod_mean": mean}
    if rods.rims:
        found["edge_steepness"] = edge_steepness(output, rods) / edge_steepness(case.noisy, rods)
    found["structure_removed"] = structure_removed(case.noisy, output, case.measured)
    return found


def _harm(case: Case, output: Volume) -> dict[str, float]:
    change = (output - case.noisy)[case.measured].astype(np.float64)
    if case.feature is None:
        return {"change_rms": float(np.sqrt(np.square(change).mean())), "change_max": float(np.abs(change).max())}
    feature = case.feature[case.measured].astype(np.float64)
    change = change[feature != 0]
    return {
        "change_rms": float(np.sqrt(np.square(change).mean())),
        "change_max": float(np.abs(change).max()),
        "feature_kept": float((output[case.measured] * feature).sum() / np.square(feature).sum()),
    }


def psnr(volume_dhw: Volume, truth_dhw: Volume, where: Mask | None = None, data_range: float = 1.0) -> float:
    """Return the peak signal-to-noise ratio in dB, over all voxels or those of a mask; infinite if nothing differs."""
    squared = np.square(volume_dhw.astype(np.float64) - truth_dhw)
    mean = float(squared[where if where is not None else ...].mean())
    return 10 * math.log10(data_range**2 / mean) if mean > 0 else math.inf


def ssim(volume_dhw: Volume, truth_dhw: Volume, data_range: float = 1.0) -> float:
    """Return the structural similarity, mean over the slices (windows of 7 x 7 pixels, as in scikit-image)."""
    pairs = zip(volume_dhw, truth_dhw, strict=True)
    return float(np.mean([structural_similarity(*pair, data_range=data_range) for pair in pairs]))


@dataclass(frozen=True)
class NoiseSpectrum:
    """A two-dimensional (in-plane) noise power spectrum."""

    power: Double
    """Shape (n, n), unit of the volume squared times mm^2; frequencies in the order of `numpy.fft`."""
    frequency_per_mm: Double
    """Shape (n, n): radial frequency."""
    cell_per_mm2: float
    """Area of one frequency bin: the sum of the power times this is the variance."""

    def band_sd(self, low_per_mm: float, high_per_mm: float) -> float:
        """Return the standard deviation of the noise in a band of frequencies, upper bound excluded."""
        band = (self.frequency_per_mm >= low_per_mm) & (self.frequency_per_mm < high_per_mm)
        return math.sqrt(float(self.power[band].sum()) * self.cell_per_mm2)

    def mean_frequency(self) -> float:
        """Return the mean frequency, weighted by the power, which decreases when noise becomes blotchy."""
        return float((self.frequency_per_mm * self.power).sum() / self.power.sum()) if self.power.any() else math.nan


def noise_power_spectrum(
    noise_dhw: Volume, where_dhw: Mask, pixel_mm: tuple[float, float], roi_px: int
) -> NoiseSpectrum | None:
    """Return the noise power spectrum from squares that lie entirely in a mask; None if there is no such square.

    The mean over squares of |DFT(noise - its mean)|^2, times the area of a pixel over their number: Siewerdsen et al.,
    "A framework for noise-power spectrum analysis of multidimensional images", Med. Phys. 29, 2002.
    """
    squares = []
    for noise_hw, where_hw in zip(noise_dhw, where_dhw, strict=True):
        for row in range(0, noise_hw.shape[0] - roi_px + 1, roi_px // 2):
            for column in range(0, noise_hw.shape[1] - roi_px + 1, roi_px // 2):
                square = (slice(row, row + roi_px), slice(column, column + roi_px))
                if where_hw[square].all():
                    squares.append(noise_hw[square].astype(np.float64))
    if not squares:
        return None
    stacked = np.stack(squares)
    stacked -= stacked.mean(axis=(1, 2), keepdims=True)
    power = np.square(np.abs(np.fft.fft2(stacked))).mean(axis=0) * (math.prod(pixel_mm) / roi_px**2)
    rows, columns = (np.fft.fftfreq(roi_px, step) for step in pixel_mm)
    return NoiseSpectrum(power, np.hypot(rows[:, None], columns), 1 / (roi_px**2 * math.prod(pixel_mm)))


def structure_removed(noisy_dhw: Volume, output_dhw: Volume, slices: slice = slice(None)) -> float:
    """Return the correlation of what was removed with the edges of the input: 0 if only noise was removed.

    The edges of a slice are taken from its two neighbors, whose noise is independent of that of the slice: their mean
    minus its Gaussian mean of 1 pixel. So pure noise gives a correlation of 0, and not that of the noise with itself.
    """
    sums = np.zeros(5)
    count = 0
    first, end, _ = slices.indices(len(noisy_dhw))
    for z in range(max(first, 1), min(end, len(noisy_dhw) - 1)):
        neighbors = (noisy_dhw[z - 1].astype(np.float64) + noisy_dhw[z + 1]) / 2
        edges = neighbors - ndimage.gaussian_filter(neighbors, 1.0)
        removed = noisy_dhw[z].astype(np.float64) - output_dhw[z]
        sums += [edges.sum(), removed.sum(), (edges**2).sum(), (removed**2).sum(), (edges * removed).sum()]
        count += edges.size
    if not count:
        return math.nan
    edge, removed_mean, edge_square, removed_square, product = sums / count
    spread = (edge_square - edge**2) * (removed_square - removed_mean**2)
    return float((product - edge * removed_mean) / math.sqrt(spread)) if spread > 0 else 0.0
