# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Trials of anatomy.py on anatomy with known truth: brain, head, chest, abdomen, MR with thick slices, PET.

Even seeds, for tuning, use other slices or another body than odd seeds, for reporting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, partial

import numpy as np
from body import SPACING_MM as BODY_MM
from body import make_abdomen, make_chest
from brain import HEAD, make_brain, make_overlapping_brain
from cases import DATA, TISSUE, MissingData, add_rician
from numpy.typing import NDArray
from scipy import ndimage, signal
from textured_noise import kernel_noise, measured_power, noise_of_spectrum
from trial import DETAIL_PX, Trial, View, band, contrast_kept, detail_figures, filled

from nsn2n.dicom.read.series_reader import read_series

__all__ = ["ANATOMY", "brain_inside", "middle"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]

BRAIN_WINDOW, ABDOMEN_WINDOW, LUNG_WINDOW = (0.0, 80.0), (-135.0, 215.0), (-1250.0, 250.0)
BRAINS = {
    "ct-brain-5mm-4": (5, 4.0),
    "ct-brain-5mm-8": (5, 8.0),
    "ct-brain-1mm-10": (1, 10.0),
    "ct-brain-1mm-20": (1, 20.0),
    "ct-brain-overlap-10": (1, 10.0),
}
"""Slice spacing in mm, and noise in HU; slices are as thick, but for"""
OVERLAPPING = {"ct-brain-overlap-10"}
"""slices of 2 mm."""
GRAY_FROM_HU, WHITE_HU = 35.0, (25.0, 30.0)
HEAD_SLICES, HEAD_NOISE_HU, FREE_OF_NOISE_PX, FINEST_PX = slice(7, 14), 6.0, 1.5, 0.7
SKULL_HU, BRAIN_HU, OTHER_HU, AWAY_PX = 120.0, (5.0, 60.0), (-20.0, 75.0), 5
BODY_NOISE_HU = {"ct-abdomen": 14.0, "ct-chest": 45.0}
FAINT_SD, FAINT_AWAY_PX = 5.0, 3
BONE_HU, SOFT_HU, BESIDE_PX = 300.0, (-50.0, 100.0), (2.0, 6.0)
MR_PERCENT = {"mr-thick-clean": 0.2, "mr-thick-3": 3.0, "mr-thick-9": 9.0}
MR_VOXEL_MM, MR_THICK, AIR_MR_PERCENT, AIR_AWAY_PX, HEAD_RIM_PX = 0.88, 6, 5.0, 6, 12
ZERO_FILLED_PERCENT, ZERO_FILLED_TIMES = 5.0, 2


def middle(shape: tuple[int, ...], crop_px: int) -> tuple[slice, slice]:
    """Return the rows and columns of the central crop; 0 selects the whole slice."""
    sizes = (min(crop_px or size, size) for size in shape[-2:])
    rows, columns = (
        slice((full - size) // 2, (full - size) // 2 + size) for full, size in zip(shape[-2:], sizes, strict=True)
    )
    return rows, columns


def brain(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the pseudo-CT of the MR head; also measures the contrast of gray and white matter."""
    if not HEAD.is_file():
        raise MissingData(f"the cases ct-brain need {HEAD}")
    apart_mm, noise_hu = BRAINS[name]
    if name in OVERLAPPING:
        made = make_overlapping_brain(noise_hu, seed, slices)
    else:
        made = make_brain(apart_mm, noise_hu, seed, slices)
    place = (slice(None), *middle(made.truth.shape, crop_px))
    truth, noisy, inside = (np.ascontiguousarray(array[place]) for array in made)
    gray = inside & (truth > GRAY_FROM_HU)
    white = inside & (truth > WHITE_HU[0]) & (truth < WHITE_HU[1])

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        figures = detail_figures(results[0], noisy, truth, inside)
        return {**figures, "gray-white %": contrast_kept(results[0], truth, gray, white)}

    return Trial(
        name=name, noisy=(noisy,), truth=(truth,), measure=measure, view=View(BRAIN_WINDOW, slices // 2),
        spacing_mm=(float(apart_mm), 0.5, 0.5),
    )  # fmt: skip


def head(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the scanned head with added noise of the same spectrum; detail is that in a band low in noise."""
    folder = DATA / "ct-head"
    if not folder.is_dir():
        raise MissingData(f"the case ct-head needs {folder}")
    series = read_series(sorted(folder.iterdir()))
    down_px = series.stack.shears_px[0][0]  # tilted gantry: slices are shifted onto each other, for all methods
    scan = np.stack([np.roll(image, -round(down_px * z), axis=0) for z, image in enumerate(series.stack.values)])
    inside = brain_inside(scan)
    box = ndimage.find_objects(inside[HEAD_SLICES].any(axis=0).astype(int))[0]
    rows, columns = (slice(max(0, end.start - 24), end.stop + 24) for end in box)
    kept = slice(max(HEAD_SLICES.start, HEAD_SLICES.stop - slices), HEAD_SLICES.stop)
    within = (kept, rows, columns)
    place = (slice(None), *middle(scan[within].shape, crop_px))
    truth, inside = (np.ascontiguousarray(array[within][place]) for array in (scan, inside))
    power = measured_power(truth)
    noise = noise_of_spectrum(truth.shape, power, HEAD_NOISE_HU, seed)
    noisy = np.rint(truth + noise).astype(np.float32)
    beside = beside_bone(truth)

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        figures = detail_figures(results[0], noisy, truth, inside, FREE_OF_NOISE_PX, bounded=True)
        figures["detail %"] = lost_of_anatomy(noisy - results[0], truth, noisy - truth, power, inside)
        figures["added left %"] = 100 * share_of(noisy - truth, results[0] - truth, inside)
        return {**figures, "beside bone": float((results[0] - truth)[beside].mean(dtype=np.float64))}

    return Trial(
        name=name, noisy=(noisy,), truth=(truth,), measure=measure, view=View(BRAIN_WINDOW, len(truth) - 2),
        spacing_mm=series.geometry.parts[0].spacing_mm, scan=True,
    )  # fmt: skip


def lost_of_anatomy(removed: Volume, scan: Volume, added: Volume, power: NDArray[np.float64], inside: Mask) -> float:
    """Return the percentage of detail between 1.5 and 6 px that was lost from a scan with noise of its own.

    A method removes the same fraction of the scan's own noise as of the added noise, which is known. The power of the
    scan's own noise in the band is extrapolated, by the shape of the spectrum, from the scan's finest detail, which
    contains hardly any anatomy.
    """

    def in_band(image: Volume) -> Volume:
        return band(image, DETAIL_PX, FREE_OF_NOISE_PX)[inside].astype(np.float64)

    def finest(image: Volume) -> float:
        values = band(image, FINEST_PX)[inside]
        return float(np.median(np.abs(values - np.median(values))))

    unit, anatomy = noise_of_spectrum(scan.shape, power, 1.0, 0), filled(scan, inside)
    own = float(np.square(in_band(unit)).mean()) * (finest(anatomy) / finest(unit)) ** 2
    both, noise, gone = in_band(anatomy), in_band(added), in_band(filled(removed, inside))
    taken = float((gone * noise).mean()) / float(np.square(noise).mean())
    return 100 * (float((gone * both).mean()) - taken * own) / (float(np.square(both).mean()) - own)


def share_of(noise: Volume, error: Volume, inside: Mask) -> float:
    """Return how much of some noise an error contains: their regression."""
    of_noise, of_error = noise[inside].astype(np.float64), error[inside].astype(np.float64)
    return float((of_noise * of_error).mean() / np.square(of_noise).mean())


def beside_bone(truth: Volume) -> Mask:
    """Return the voxels of soft tissue at some pixels from bone, which a filter of edges may darken."""
    away = np.stack([ndimage.distance_transform_edt(image <= BONE_HU) for image in truth])
    # Without bone the distance is that to a pixel outside of the slice.
    has_bone = (truth > BONE_HU).any(axis=(1, 2))[:, None, None]
    soft = (truth > SOFT_HU[0]) & (truth < SOFT_HU[1])
    return np.asarray(soft & has_bone & (away >= BESIDE_PX[0]) & (away < BESIDE_PX[1]))


def brain_inside(scan: Volume) -> Mask:
    """Return the voxels within the skull that have the density of brain, away from bone and air."""
    inside = np.zeros(scan.shape, bool)
    for z, image in enumerate(scan):
        bone = ndimage.binary_closing(image > SKULL_HU, iterations=6)
        filled = ndimage.binary_fill_holes(bone) & ~ndimage.binary_dilation(image > SKULL_HU, iterations=AWAY_PX)
        smooth = ndimage.gaussian_filter(image, 3)
        other = ndimage.gaussian_filter(image, 1)
        other = ndimage.binary_dilation((other > OTHER_HU[1]) | (other < OTHER_HU[0]), iterations=AWAY_PX)
        dense = filled & (smooth > BRAIN_HU[0]) & (smooth < BRAIN_HU[1]) & ~other
        labels, count = ndimage.label(ndimage.binary_erosion(dense, iterations=2))
        if count:
            inside[z] = labels == 1 + np.argmax(np.bincount(labels.ravel())[1:])
    return inside


def body(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the chest or abdomen; faint detail is detail away from structures above 5 noise sd."""
    made = (make_chest if name == "ct-chest" else make_abdomen)(slices, seed)
    sd, shape = BODY_NOISE_HU[name], made.truth.shape
    rows, columns = np.mgrid[-1 : 1 : shape[1] * 1j, -1 : 1 : shape[2] * 1j]
    noise = kernel_noise(shape, 1.0, 300 + seed) * sd * (0.6 + 0.6 * np.exp(-2 * (rows**2 + columns**2)))
    noise *= np.where(made.truth < -950, 0.3, 1.0)
    place = (slice(None), *middle(shape, crop_px))
    truth, inside = (np.ascontiguousarray(array[place]) for array in (made.truth, made.inside))
    noisy = np.rint(np.clip(truth + noise[place], -1024, 3071)).astype(np.float32)
    strong = np.abs(band(truth, DETAIL_PX)) > FAINT_SD * sd
    faint = inside & ~ndimage.binary_dilation(strong, np.ones((1, 3, 3)), iterations=FAINT_AWAY_PX)
    beside = beside_bone(truth)

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        figures = detail_figures(results[0], noisy, truth, faint, bounded=True)
        figures["all detail %"] = detail_figures(results[0], noisy, truth, inside)["detail %"]
        return {**figures, "beside bone": float((results[0] - truth)[beside].mean(dtype=np.float64))}

    window = LUNG_WINDOW if name == "ct-chest" else ABDOMEN_WINDOW
    return Trial(
        name=name, noisy=(noisy,), truth=(truth,), measure=measure, view=View(window, slices // 2), spacing_mm=BODY_MM
    )


@cache
def _mr_head() -> Volume:
    """Return the MR head, 1 at its 99.9th percentile, axial slices from bottom to top."""
    import nibabel

    if not HEAD.is_file():
        raise MissingData(f"the MR cases need {HEAD}")
    image = nibabel.as_closest_canonical(nibabel.load(HEAD))
    values = image.get_fdata().astype(np.float32).transpose(2, 1, 0)[:, ::-1]
    return np.asarray(values / np.percentile(values, 99.9), dtype=np.float32)


def _half_of(volume: Volume, seed: int, slices: int, crop_px: int) -> Volume:
    """Return the middle slices, among those that contain head, of the half that the seed selects."""
    with_head = np.flatnonzero((volume > TISSUE).mean(axis=(1, 2)) > 0.15)
    half = np.array_split(with_head, 2)[seed % 2]
    first = half[0] + max(0, (len(half) - slices) // 2)
    rows, columns = middle(volume.shape, crop_px)
    return np.ascontiguousarray(volume[first : first + slices, rows, columns])


def thick_mr(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the MR head in slices of 5 mm."""
    head_dhw = _mr_head()
    depth = len(head_dhw) // MR_THICK * MR_THICK
    thick = head_dhw[:depth].reshape(-1, MR_THICK, *head_dhw.shape[1:]).mean(axis=1)
    truth = _half_of(thick, seed, slices, crop_px)
    noisy = add_rician(truth, MR_PERCENT[name] / 100, seed)
    return _mr(name, truth, noisy, (MR_THICK * MR_VOXEL_MM, MR_VOXEL_MM, MR_VOXEL_MM))


def air_mr(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the MR head with exactly 0 around it before noise is added."""
    head_dhw = _mr_head()
    within = ndimage.binary_fill_holes(ndimage.binary_closing(head_dhw > TISSUE, iterations=3))
    truth = _half_of(np.where(within, head_dhw, 0).astype(np.float32), seed, 2 * slices, crop_px)
    return _mr(name, truth, add_rician(truth, AIR_MR_PERCENT / 100, seed), (MR_VOXEL_MM,) * 3)


def zero_filled_mr(name: str, seed: int, slices: int, crop_px: int) -> Trial:
    """Make a trial on the MR head interpolated in the plane by zero filling, before the magnitude is taken."""
    clean = _half_of(_mr_head(), seed, slices, 0)
    noise = ZERO_FILLED_PERCENT / 100 * np.random.default_rng(seed).standard_normal((2, *clean.shape), dtype=np.float32)

    def interpolated(channel: Volume) -> Volume:
        for axis in (1, 2):
            channel = signal.resample(channel, ZERO_FILLED_TIMES * channel.shape[axis], axis=axis)
        return channel[(slice(None), *middle(channel.shape, crop_px))]

    truth = np.abs(interpolated(clean)).astype(np.float32)
    noisy = np.hypot(interpolated(clean + noise[0]), interpolated(noise[1])).astype(np.float32)
    pixel_mm = MR_VOXEL_MM / ZERO_FILLED_TIMES
    return _mr(name, truth, noisy, (MR_VOXEL_MM, pixel_mm, pixel_mm))


def _mr(name: str, truth: Volume, noisy: Volume, spacing_mm: tuple[float, float, float]) -> Trial:
    head_dhw = ndimage.binary_fill_holes(ndimage.binary_closing(truth > TISSUE, np.ones((1, 3, 3)), iterations=3))
    inside = ndimage.binary_erosion(head_dhw, np.ones((1, 3, 3)), iterations=HEAD_RIM_PX)
    air = ndimage.binary_erosion(truth == 0, np.ones((1, 3, 3)), iterations=AIR_AWAY_PX)

    def measure(results: Sequence[Volume]) -> dict[str, float]:
        figures = detail_figures(results[0], noisy, truth, inside)
        figures["rmse"] *= 100
        figures["left"] *= 100
        figures["all, rmse"] = 100 * float(np.sqrt(np.square(results[0] - truth, dtype=np.float64).mean()))
        if air.mean() > 0.05:
            figures["in air"] = 100 * float(np.sqrt(np.square(results[0][air], dtype=np.float64).mean()))
        return figures

    return Trial(
        name=name, noisy=(noisy,), truth=(truth,), measure=measure, view=View((0.0, 1.0), len(truth) // 2),
        spacing_mm=spacing_mm, modality="MR",
    )  # fmt: skip


ANATOMY: dict[str, Callable[[int, int, int], Trial]] = {
    **{name: partial(brain, name) for name in BRAINS},
    "ct-head": partial(head, "ct-head"),
    **{name: partial(body, name) for name in BODY_NOISE_HU},
    **{name: partial(thick_mr, name) for name in MR_PERCENT},
    "mr-air-5": partial(air_mr, "mr-air-5"),
    "mr-zero-filled-5": partial(zero_filled_mr, "mr-zero-filled-5"),
}
"""Functions that make each trial from a seed, a number of slices, and the size of the central crop in pixels."""
