# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a denoised volume as a new DICOM series, one derived instance per source instance.

The series is written into a hidden folder, read back and checked, and only then gets its final name; a failure
before that leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import PARSE_ERRORS, refusal
from nsn2n.dicom.diffusion import Diffusion, diffusion_of_series
from nsn2n.dicom.pixels.encoding import EncodedSlice, encode_slice
from nsn2n.dicom.pixels.lossless import compress, encoding
from nsn2n.dicom.pixels.pixel_format import stored_values
from nsn2n.dicom.pixels.stored_pixels import frame_datasets, read_image
from nsn2n.dicom.read.geometry import SeriesGeometry
from nsn2n.dicom.read.slice_sorting import plan_series
from nsn2n.dicom.slice_facts import SliceFacts
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.derive import DerivedSeries, derive_dataset
from nsn2n.dicom.write.derive_enhanced import derive_enhanced
from nsn2n.dicom.write.numbering import claimed_series
from nsn2n.dicom.write.self_check import check_enhanced_file, check_series, check_slice_file
from nsn2n.errors import DicomError, VolumeError
from nsn2n.runtime.modes import limit_modes_in

__all__ = ["WriteOptions", "WrittenSeries", "write_series"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Choices of a run."""

    taken_series_numbers: frozenset[int] = frozenset()
    """Series numbers in use in the study, besides those in the output folder; the new series uses none of them."""
    compression: str = "none"
    """How pixels are stored: a key of `nsn2n.dicom.pixels.lossless.ENCODINGS`; all are lossless."""
    clipped_fraction_to_warn: float = 1e-3
    """Warn if more than this fraction of the voxels had to be clipped to the range of BitsStored."""
    allow_own_output: bool = False
    """Derive from a series that this program wrote."""

    def __post_init__(self) -> None:
        """Check the name of the compression."""
        encoding(self.compression)


@dataclass(frozen=True)
class WrittenSeries:
    """A finished series."""

    folder: Path
    SeriesInstanceUID: str
    SeriesNumber: int
    files: tuple[Path, ...]
    """In slice order; one for each file of the source."""
    clipped_voxels: int
    """Voxels whose value was outside the range of BitsStored."""
    voxels_moved_off_padding: int
    """Voxels whose new value would have read as padding, and which got the nearest other value."""
    rescaled_slices: int = 0
    """PET slices whose values no longer fitted their RescaleSlope, and which got a new one."""


def write_series(
    volume_dhw: NDArray[Any],
    source_files: Sequence[Path | str],
    output_folder: Path | str,
    derivation: Derivation,
    *,
    options: WriteOptions | None = None,
) -> WrittenSeries:
    """Write a volume as a series derived from its source.

    Parameters
    ----------
    volume_dhw : array, shape (D, H, W)
        In units of the modality (HU in CT), slices in the order of `source_files`. A voxel that was not
        changed keeps its stored value, as do padded pixels, whatever the array holds there.
    source_files : sequence of path
        The source file of each slice; that of an enhanced image once for each of its frames.
    output_folder : path
        Created if absent; the series goes into a subfolder named by its UID, as ``IM0001.dcm`` and so on.
    derivation : Derivation
        Description of the new series.
    options : WriteOptions, optional

    Raises
    ------
    VolumeError
        If the array is not a volume, does not fit the source or is not finite.
    DicomError
        If a source file breaks a rule of the reader, the folder cannot be written, or the written files are
        not what they should be. In that case nothing is left in `output_folder`.
    """
    options = options or WriteOptions()
    sources, output = [Path(path) for path in source_files], Path(output_folder)
    volume = np.asarray(volume_dhw)
    plan = plan_series(list(dict.fromkeys(sources)), allow_own_output=options.allow_own_output)
    slices, geometry = plan.slices, plan.geometry
    _check_volume(volume, sources, slices, geometry)
    clipped = moved = rescaled = 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        claim = claimed_series(output, slices[0].header, derivation, options.taken_series_numbers)
        with claim as (series, hidden):
            folder = output / series.SeriesInstanceUID
            images = _images(slices)
            diffusions = diffusion_of_series(slices)
            names = [f"IM{index + 1:04d}.dcm" for index in range(len(images))]
            for name, places in zip(names, images, strict=True):
                parts, frames = [slices[place] for place in places], [volume[place] for place in places]
                common = (hidden / name, parts, frames, derivation, series, options.compression)
                single = parts[0].frame is None
                written = _write_slice(*common, diffusions[places[0]]) if single else _write_frames(*common)
                for encoded in written:
                    clipped += encoded.clipped
                    moved += encoded.moved_off_padding
                    rescaled += encoded.new_slope
            check_series(plan, [hidden / name for name in names], series)
            limit_modes_in(hidden, sources)
            hidden.rename(folder)
    except OSError as error:
        # pydicom wraps errors while writing; the message of the system is in the cause.
        system = error.__cause__ if isinstance(error.__cause__, OSError) else error
        reason = system.strerror or type(system).__name__
        raise DicomError(
            f"the output folder must be writable and have free space; got {reason} at {output}. "
            "No series was written; free some space or choose another folder."
        ) from error
    if rescaled:
        logger.info(
            "%d of %d slices got a new RescaleSlope, since their values no longer fitted", rescaled, len(slices)
        )
    _report(clipped, moved, volume.size, options, folder)
    return WrittenSeries(
        folder=folder,
        SeriesInstanceUID=series.SeriesInstanceUID,
        SeriesNumber=series.SeriesNumber,
        files=tuple(folder / name for name in names),
        clipped_voxels=clipped,
        voxels_moved_off_padding=moved,
        rescaled_slices=rescaled,
    )


def _images(slices: Sequence[SliceFacts]) -> list[list[int]]:
    """Return the slice indices of each source file, in the order of its frames; files in the order of the volume."""
    of_file: dict[Path, list[int]] = {}
    for place, facts in enumerate(slices):
        of_file.setdefault(facts.path, []).append(place)
    return [sorted(places, key=lambda place: slices[place].frame or 0) for places in of_file.values()]


def _check_volume(
    volume: NDArray[Any], sources: list[Path], slices: Sequence[SliceFacts], geometry: SeriesGeometry
) -> None:
    if volume.shape != geometry.shape_dhw:
        raise VolumeError(
            f"the volume must have the shape of its source series, (D, H, W) = {geometry.shape_dhw}; "
            f"got {volume.shape}. Write the volume that was read from these files."
        )
    if [facts.path for facts in slices] != sources:
        raise VolumeError(
            "the source files must come in slice order, one per slice; got another order, or a file twice. "
            "Pass the files as the reader returned them."
        )
    if not (np.issubdtype(volume.dtype, np.floating) or np.issubdtype(volume.dtype, np.integer)):
        raise VolumeError(f"the volume must hold real numbers; got {volume.dtype}. Convert it to float32.")
    for index, values_hw in enumerate(volume):
        if not np.isfinite(values_hw).all():
            raise VolumeError(
                f"every voxel must be finite; got NaN or infinity in slice {index} (of {sources[index]}). "
                "Nothing was written; correct the denoised volume."
            )


def _write_slice(
    file: Path,
    slices: Sequence[SliceFacts],
    values: Sequence[NDArray[Any]],
    derivation: Derivation,
    series: DerivedSeries,
    compression: str,
    diffusion: Diffusion | None,
) -> list[EncodedSlice]:
    """Derive one instance from its source file, save it and check what was saved."""
    (facts,), (values_hw,) = slices, values
    source = read_image(facts.path)
    encoded = encode_slice(values_hw, stored_values(source, facts.pixels, facts.path), facts.pixels)
    with _copied_from(facts.path):
        target = derive_dataset(source, encoded.stored_hw, encoded.pixels, derivation, series, diffusion)
    compress(target, compression)
    _save(target, file, facts.path)
    check_slice_file(file, source, encoded, facts)
    return [encoded]


def _write_frames(
    file: Path,
    slices: Sequence[SliceFacts],
    values: Sequence[NDArray[Any]],
    derivation: Derivation,
    series: DerivedSeries,
    compression: str,
) -> list[EncodedSlice]:
    """Derive one enhanced image from its source file, save it and check what was saved."""
    path = slices[0].path
    source = read_image(path)
    encoded = [
        encode_slice(values_hw, stored_values(dataset, facts.pixels, facts.label), facts.pixels)
        for dataset, facts, values_hw in zip(frame_datasets(path, slices), slices, values, strict=True)
    ]
    with _copied_from(path):
        target = derive_enhanced(source, encoded, derivation, series)
    compress(target, compression)
    _save(target, file, path)
    check_enhanced_file(file, source, encoded, slices)
    return encoded


@contextmanager
def _copied_from(path: Path) -> Iterator[None]:
    """Refuse a source with attributes that cannot be interpreted and therefore not copied."""
    try:
        yield
    except (OSError, *PARSE_ERRORS) as error:
        raise _not_copyable(path, error) from error


def _save(target: Dataset, file: Path, source: Path) -> None:
    try:
        target.save_as(file, enforce_file_format=True)
    except PARSE_ERRORS as error:
        raise _not_copyable(source, error) from error


def _not_copyable(path: Path, error: Exception) -> DicomError:
    return refusal(
        f"each attribute of a source must be copyable; one raises {type(error).__name__}",
        "Copy or export the file again.",
        path=path,
    )


def _report(clipped: int, moved: int, voxels: int, options: WriteOptions, folder: Path) -> None:
    if clipped > options.clipped_fraction_to_warn * voxels:
        logger.warning(
            "%d of %d voxels (%.2f %%) were clipped to the range of BitsStored",
            clipped,
            voxels,
            100 * clipped / voxels,
        )
    logger.info("wrote %s; %d voxels clipped, %d moved off the padding value", folder, clipped, moved)
