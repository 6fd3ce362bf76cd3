# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The cases of the benchmark: the volumes to denoise, what is known about them, and where they are measured.

    from cases import CASES, make_case
    case = make_case("mr-rician-5", size="small", seed=1)

Even seeds are for tuning, odd ones for reporting. They differ in the noise and in the slices that are measured.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
from no_harm import PROBES
from numpy.typing import NDArray
from rods import Rods, find_rods
from scipy import ndimage
from spots import Spot, add_spots, place_spots

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.noise.blocks import noise_sd_slice
from nsn2n.noise.level import estimate_noise
from nsn2n.synthetic.phantom import PhantomStudy, make_phantom

__all__ = ["CASES", "DATA", "Case", "MissingData", "Size", "add_rician", "half_of", "make_case", "mix_slices"]

Volume = NDArray[np.float32]
Mask = NDArray[np.bool_]
Size = Literal["tiny", "small", "full"]

DATA = Path(os.environ.get("NSN2N_TEST_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""Folder with ``mr-t1-head`` and ``ct-phantom-study``, which benchmarks/README.md describes."""

TISSUE = 0.08
"""MR voxels above this fraction of the range are tissue."""
RICIAN_PERCENT = (5, 7, 9)
DOSES = {"full": 1.0, "half": 0.5, "quarter": 0.25, "eighth": 0.125}
EVERY = (2, 4)
LAGS = (0.2, 0.5)

MR_SMALL_SLICES = {"tune": (60, 108), "report": (108, 156)}
MR_SMALL_ROWS, MR_SMALL_COLUMNS = slice(40, 200), slice(20, 172)
PHANTOM_SHAPES: dict[Size, tuple[int, int, int]] = {
    "tiny": (24, 160, 160),
    "small": (16, 512, 512),
    "full": (32, 512, 512),
}
CT_REAL_SMALL = slice(96, 416)
SOFT_WINDOW_HU = (-160.0, 240.0)
"""PSNR and SSIM of CT are computed on values clipped to this window, as in the demonstration."""
SOFT_RANGE_HU = SOFT_WINDOW_HU[1] - SOFT_WINDOW_HU[0]
CT_REAL_TISSUE_HU = (-200.0, 400.0)
NOISE_MAP_PX = 12.0


class MissingData(Exception):  # noqa: N818 - not an error in the case: it cannot be made on this machine
    """The data of a case is not available on this machine."""


NoisyOf = Callable[[list[Spot]], Volume]
"""Function that makes the noisy volume of a case with added spots: the same noise on another object."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A volume to denoise and what is known about it; arrays have the shape (D, H, W)."""

    name: str
    size: Size
    seed: int
    noisy: Volume
    truth: Volume | None
    tissue: Mask
    """Where PSNR in tissue is measured and where spots may be placed."""
    measured: slice
    """The slices that are measured; the remaining slices belong to the other half."""
    noise_sd: Volume
    """Standard deviation of the noise at each voxel, the unit of the spots' contrast."""
    spacing_mm: tuple[float, float, float]
    """Spacing of (slices, rows, columns)."""
    modality: Literal["CT", "MR"]
    window: tuple[float, float] | None
    """PSNR and SSIM of whole slices are computed on values clipped to this window. None: not clipped."""
    data_range: float
    """Peak value for PSNR and range for SSIM."""
    rods: Rods | None = None
    feature: Volume | None = None
    """The structure that must be kept, as it was added to a volume of zeros."""
    with_spots: Volume | None = None
    """The input with added spots and the same noise. None: the case has no spots."""
    spots: list[Spot] = field(default_factory=list)

    @property
    def half(self) -> Literal["tune", "report"]:
        """The half that this case belongs to."""
        return half_of(self.seed)

    @property
    def base(self) -> str:
        """The name without the suffix for a modified stack: ``mr-rician-5`` for ``mr-rician-5/every-2``."""
        return self.name.partition("/")[0]


Made = tuple[Case, NoisyOf | None]


def half_of(seed: int) -> Literal["tune", "report"]:
    """Return the half of a seed: even seeds are for choosing settings, odd ones for reporting."""
    return "report" if seed % 2 else "tune"


def make_case(name: str, size: Size = "small", seed: int = 1, *, with_spots: bool = True) -> Case:
    """Make one of the cases.

    Parameters
    ----------
    name : str
        One of `CASES`.
    size : {"tiny", "small", "full"}
        ``tiny`` is for tests of the benchmark itself.
    seed : int
        Seed of the noise. Even: the slices for tuning, odd: those for reporting.
    with_spots : bool
        Also make the input with spots (omitted if there is no room for them).

    Raises
    ------
    ValueError
        If there is no case of that name.
    MissingData
        If the data it needs is not available.
    """
    if name not in CASES:
        raise ValueError(f"a case must be one of {', '.join(CASES)}; got {name!r}.")
    base, _, change = name.partition("/")
    kind, _, value = change.partition("-")
    lag = float(value) if kind == "lag" else 0.0
    case, noisy_of = _MAKERS[base](size, seed, lag)
    if kind == "every":
        case, noisy_of = _thinned(case, noisy_of, int(value))
    case = replace(case, name=name)
    return _with_spots(case, noisy_of) if with_spots and noisy_of is not None else case


def _with_spots(case: Case, noisy_of: NoisyOf) -> Case:
    floor = case.truth if case.modality == "MR" else None  # MR signal cannot fall below zero
    spots = place_spots(case.tissue, case.noise_sd, slices=case.measured, floor_dhw=floor)
    return replace(case, spots=spots, with_spots=noisy_of(spots)) if spots else case


def _thinned(case: Case, noisy_of: NoisyOf | None, step: int) -> Made:
    """Make a case of every second (third, ...) slice."""
    kept = slice(None, None, step)
    first = len(range(0, case.measured.start, step))
    end = len(range(0, case.measured.stop, step))
    depth_mm, *in_plane_mm = case.spacing_mm
    rods = case.rods
    if rods is not None:
        rods = Rods(
            [(z // step, interior) for z, interior in rods.interiors if z % step == 0],
            [(z // step, rim) for z, rim in rods.rims if z % step == 0],
        )
    thin = replace(
        case,
        noisy=np.ascontiguousarray(case.noisy[kept]),
        truth=None if case.truth is None else np.ascontiguousarray(case.truth[kept]),
        tissue=case.tissue[kept],
        noise_sd=case.noise_sd[kept],
        measured=slice(first, end),
        spacing_mm=(depth_mm * step, in_plane_mm[0], in_plane_mm[1]),
        rods=rods,
    )
    if noisy_of is None:
        return thin, None

    def thin_noisy_of(spots: list[Spot]) -> Volume:
        # Spots are placed in the slices that are kept; in the whole volume these lie `step` apart.
        spread = [
            replace(spot, slices=slice(spot.slices.start * step, (spot.slices.stop - 1) * step + 1, step))
            for spot in spots
        ]
        return np.ascontiguousarray(noisy_of(spread)[kept])

    return thin, thin_noisy_of


def _mr(percent: int, size: Size, seed: int, lag: float) -> Made:
    """Make an MR head case: the magnitude of the clean volume with Gaussian noise in both channels."""
    clean, spacing_mm = _mr_head(size, half_of(seed))
    sigma = percent / 100

    def noisy_of(spots: list[Spot]) -> Volume:
        return add_rician(add_spots(clean, spots), sigma, seed, lag)

    case = Case(
        name="", size=size, seed=seed, noisy=noisy_of([]), truth=clean, tissue=clean > TISSUE,
        measured=slice(0, len(clean)), noise_sd=np.full(clean.shape, sigma, np.float32), spacing_mm=spacing_mm,
        modality="MR", window=None, data_range=1.0,
    )  # fmt: skip
    return case, noisy_of


@cache
def _mr_head(size: Size, half: str) -> tuple[Volume, tuple[float, float, float]]:
    """Return the clean head, 1 at its 99.9th percentile; axial slices, from the neck upwards.

    Small: 48 slices of 160 x 152 pixels. Full: all slices with tissue, split into halves at the same slice.
    """
    path = DATA / "mr-t1-head" / "t1.nii.gz"
    if not path.is_file():
        raise MissingData(f"the MR cases need {path}")
    image = nibabel.load(path)
    values = np.asarray(image.dataobj, dtype=np.float32)  # type: ignore[attr-defined]
    values /= np.percentile(values, 99.9)
    axial = values.transpose(2, 1, 0)
    columns_mm, rows_mm, slices_mm = (float(zoom) for zoom in image.header.get_zooms()[:3])  # type: ignore[no-untyped-call]
    first, end = MR_SMALL_SLICES[half]
    if size == "full":
        with_tissue = np.flatnonzero((axial > TISSUE).mean(axis=(1, 2)) > 0.01)
        first, end = (int(with_tissue[0]), end) if half == "tune" else (first, int(with_tissue[-1]) + 1)
        block = axial[first:end]
    elif size == "tiny":
        block = axial[first : first + 12, 80:144, 60:124]
    else:
        block = axial[first:end, MR_SMALL_ROWS, MR_SMALL_COLUMNS]
    return np.ascontiguousarray(block, dtype=np.float32), (slices_mm, rows_mm, columns_mm)


def add_rician(clean_dhw: Volume, sigma: float, seed: int, lag: float = 0.0) -> Volume:
    """Return the magnitude of a volume with Gaussian noise of sd ``sigma`` in its real and imaginary parts.

    ``lag``: correlation of the noise of neighboring slices, 0 to 0.5; each channel is mixed separately.
    """
    random = np.random.default_rng(seed)
    depth, *in_plane = clean_dhw.shape
    extra = 1 if lag else 0
    channels = [mix_slices(random.standard_normal((depth + extra, *in_plane)), lag) for _ in range(2)]
    return np.hypot(clean_dhw + sigma * channels[0], sigma * channels[1]).astype(np.float32)


def mix_slices(noise_dhw: NDArray[np.floating], lag: float) -> NDArray[np.floating]:
    """Make noise with correlated neighboring slices from independent noise.

    Each slice becomes a weighted sum of itself and the next one; the weights preserve the variance and make the
    correlation of neighbors ``lag`` (0 to 0.5). Slices further apart stay uncorrelated. The result has one slice fewer,
    unless ``lag`` is 0.
    """
    if not 0 <= lag <= 0.5:
        raise ValueError(f"the correlation of neighbors must be in 0..0.5, which two slices can give; got {lag}.")
    if lag == 0:
        return noise_dhw
    # a^2 + b^2 = 1 and a b = lag
    root = math.sqrt(1 - 4 * lag**2)
    a, b = math.sqrt((1 + root) / 2), math.sqrt((1 - root) / 2)
    return np.asarray(a * noise_dhw[:-1] + b * noise_dhw[1:])


def _phantom(dose: float, size: Size, seed: int, lag: float) -> Made:
    """Make a case of synthetic CT. The first half of its slices is for tuning, the second for reporting."""
    study = _phantom_study(size, dose, seed)
    noise = study.noisy_dhw - study.truth_dhw
    if lag:
        noise = mix_slices(noise, lag).astype(np.float32)
    depth = len(noise)
    truth, tissue = study.truth_dhw[:depth], study.soft_tissue_mask[:depth]
    variance = ndimage.gaussian_filter(np.square(noise).mean(axis=0), NOISE_MAP_PX, mode="nearest")

    def noisy_of(spots: list[Spot]) -> Volume:
        return np.asarray(add_spots(truth, spots) + noise, dtype=np.float32)

    case = Case(
        name="", size=size, seed=seed, noisy=noisy_of([]), truth=truth, tissue=tissue,
        measured=_half_of_slices(depth, seed),
        noise_sd=np.broadcast_to(np.sqrt(variance, dtype=np.float32), truth.shape), spacing_mm=study.spacing_mm,
        modality="CT", window=SOFT_WINDOW_HU, data_range=SOFT_RANGE_HU,
    )  # fmt: skip
    return case, noisy_of


@lru_cache(maxsize=1)  # cases of the same dose and seed follow each other, and simulating a scan takes a while
def _phantom_study(size: Size, dose: float, seed: int) -> PhantomStudy:
    return make_phantom(PHANTOM_SHAPES[size], dose=dose, seed=seed)


def _half_of_slices(depth: int, seed: int) -> slice:
    return slice(depth // 2, depth) if half_of(seed) == "report" else slice(0, depth // 2)


def _ct_real(size: Size, seed: int, lag: float) -> Made:
    """Make the case of the scanned phantom; the seed selects the measured slices, and is that of the methods."""
    noisy, smooth, spacing_mm = _ct_study(size)
    blocks = estimate_noise(noisy)
    noise_sd = np.stack([noise_sd_slice(slice_hw, noisy.shape[1:]) for slice_hw in blocks])
    low, high = CT_REAL_TISSUE_HU

    def noisy_of(spots: list[Spot]) -> Volume:
        return add_spots(noisy, spots)

    case = Case(
        name="", size=size, seed=seed, noisy=noisy, truth=None, tissue=(smooth > low) & (smooth < high),
        measured=_half_of_slices(len(noisy), seed), noise_sd=noise_sd, spacing_mm=spacing_mm, modality="CT",
        window=SOFT_WINDOW_HU, data_range=SOFT_RANGE_HU, rods=find_rods(smooth),
    )  # fmt: skip
    return case, noisy_of


@cache
def _ct_study(size: Size) -> tuple[Volume, Volume, tuple[float, float, float]]:
    """Return the bone-kernel series and the smooth-kernel series of the same scan, in HU."""
    study = DATA / "ct-phantom-study"
    if not study.is_dir():
        raise MissingData(f"the case of the scanned phantom needs {study}")
    noisy, smooth = (read_series(slices_of(study / name)) for name in ("S2030", "S2020"))
    crop = slice(None) if size == "full" else CT_REAL_SMALL
    arrays = (np.ascontiguousarray(series.stack.values[:, crop, crop]) for series in (noisy, smooth))
    return next(arrays), next(arrays), noisy.geometry.parts[0].spacing_mm


def slices_of(folder: Path) -> list[Path]:
    """Return the slice files of a series folder, without its index file."""
    return sorted(path for path in folder.iterdir() if path.name.startswith("I"))


def _clean_mr(size: Size, seed: int, lag: float) -> Made:
    """Make the case of the MR head without added noise."""
    clean, spacing_mm = _mr_head(size, half_of(seed))
    return _no_harm(size, seed, clean, spacing_mm, modality="MR", data_range=1.0), None


def _clean_phantom(size: Size, seed: int, lag: float) -> Made:
    """Make the case of the synthetic CT without noise."""
    study = make_phantom(PHANTOM_SHAPES[size], seed=seed)
    return _no_harm(size, seed, study.truth_dhw, study.spacing_mm), None


def _probe(name: str, size: Size, seed: int, lag: float) -> Made:
    """Make a case of a uniform volume with a structure that must not be changed, and noise."""
    noisy, truth, noise_sd = PROBES[name](seed)
    case = _no_harm(size, seed, truth, (1.0, 0.7, 0.7))
    return replace(case, noisy=noisy, feature=truth, noise_sd=np.full(truth.shape, noise_sd, np.float32)), None


def _no_harm(
    size: Size, seed: int, truth: Volume, spacing_mm: tuple[float, float, float],
    modality: Literal["CT", "MR"] = "CT", data_range: float = SOFT_RANGE_HU,
) -> Case:  # fmt: skip
    everywhere = np.ones(truth.shape, bool)
    return Case(
        name="", size=size, seed=seed, noisy=truth, truth=truth, tissue=everywhere, measured=slice(0, len(truth)),
        noise_sd=np.zeros_like(truth), spacing_mm=spacing_mm, modality=modality, window=None, data_range=data_range,
    )  # fmt: skip


_MAKERS: dict[str, Callable[[Size, int, float], Made]] = {
    **{f"mr-rician-{percent}": partial(_mr, percent) for percent in RICIAN_PERCENT},
    **{f"ct-lowdose-{name}": partial(_phantom, dose) for name, dose in DOSES.items()},
    "ct-real": _ct_real,
    "clean-mr": _clean_mr,
    "clean-ct": _clean_phantom,
    **{name: partial(_probe, name) for name in PROBES},
}

_NOISY = [name for name in _MAKERS if name.startswith(("mr-", "ct-"))]

CASES: tuple[str, ...] = (
    *_MAKERS,
    *(f"{name}/every-{step}" for name in _NOISY for step in EVERY),
    *(f"{name}/lag-{lag}" for name in _NOISY if name != "ct-real" for lag in LAGS),
)
"""All names. ``/every-2``: only every second slice is kept; ``/lag-0.2``: correlation of the noise of neighboring
slices."""
