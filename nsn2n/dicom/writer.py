# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a denoised volume as a new DICOM series, one derived instance per source slice.

The series is written into a hidden folder, read back and checked, and only then gets its name; whatever goes
wrong before that leaves nothing behind.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.valuerep import DSfloat

from nsn2n.dicom.attributes import PARSE_ERRORS, raw_value, refusal, tag_text, text, values
from nsn2n.dicom.checks import SliceFacts
from nsn2n.dicom.compression import lossy_compression
from nsn2n.dicom.derive import Derivation, DerivedSeries, derive_dataset, new_series
from nsn2n.dicom.geometry import SeriesGeometry
from nsn2n.dicom.pixels import PixelFormat, pixel_format, stored_values
from nsn2n.dicom.plan import plan_series
from nsn2n.dicom.unfinished import hidden_folder
from nsn2n.errors import DicomError, VolumeError

__all__ = ["EncodedSlice", "WriteOptions", "WrittenSeries", "encode_slice", "write_series"]

logger = logging.getLogger(__name__)

PATIENT_KEYWORDS = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber")
"""Compared as bytes, since decoding a wrong one makes pydicom warn with the value in the message."""

COPIED_KEYWORDS = (
    "StudyInstanceUID",
    *("FrameOfReferenceUID", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"),
    *("SliceThickness", "SpacingBetweenSlices", "SliceLocation", "InstanceNumber", "AcquisitionNumber"),
    *(
        "RescaleIntercept",
        "RescaleType",
        "Units",
        "DecayCorrection",
        "DecayFactor",
        "FrameReferenceTime",
        "PixelPaddingValue",
        "PixelPaddingRangeLimit",
    ),
    *("Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
    *("PhotometricInterpretation", "SpecificCharacterSet", "Modality", "SOPClassUID"),
    *("WindowCenter", "WindowWidth", "BurnedInAnnotation"),
)
"""Attributes whose values the finished file must have from its source."""


@dataclass(frozen=True, kw_only=True)
class WriteOptions:
    """Choices of a run."""

    taken_series_numbers: frozenset[int] = frozenset()
    """Series numbers in use in the study, which the new series must not get."""
    clipped_fraction_to_warn: float = 1e-3
    """Warn if more than this fraction of the voxels had to be clipped to the range of BitsStored."""
    allow_own_output: bool = False
    """Derive from a series that this program wrote."""


@dataclass(frozen=True)
class WrittenSeries:
    """A finished series."""

    folder: Path
    SeriesInstanceUID: str
    SeriesNumber: int
    files: tuple[Path, ...]
    """In slice order."""
    clipped_voxels: int
    """Voxels whose value lay outside the range of BitsStored."""
    voxels_moved_off_padding: int
    """Voxels whose new value would have read as padding, and got the nearest one that does not."""
    rescaled_slices: int = 0
    """Slices of PET whose values no longer fitted their RescaleSlope, and got a new one."""


@dataclass(frozen=True, eq=False)
class EncodedSlice:
    """New stored values of one slice."""

    stored_hw: NDArray[np.int32]
    clipped: int
    moved_off_padding: int
    pixels: PixelFormat
    """Coding of the source, perhaps with another slope."""


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
        changed keeps its stored value; padded pixels do too, whatever the array holds there.
    source_files : sequence of path
        The source file of each slice.
    output_folder : path
        Made if absent; the series goes into a subfolder named by its UID, as ``IM0001.dcm`` and so on.
    derivation : Derivation
        What the new series says of itself.
    options : WriteOptions, optional

    Raises
    ------
    VolumeError
        If the array is no volume, does not fit the source or is not finite.
    DicomError
        If a source file breaks a rule of the reader, the folder cannot be written, or the written files are
        not what they should be. Nothing is left in `output_folder` then.
    """
    options = options or WriteOptions()
    sources, output = [Path(path) for path in source_files], Path(output_folder)
    volume = np.asarray(volume_dhw)
    plan = plan_series(sources, allow_own_output=options.allow_own_output)
    slices, geometry = plan.slices, plan.geometry
    _check_volume(volume, sources, slices, geometry)
    series = new_series(slices[0].header, derivation, options.taken_series_numbers)
    folder = output / series.SeriesInstanceUID
    clipped = moved = rescaled = 0
    try:
        output.mkdir(parents=True, exist_ok=True)
        with hidden_folder(output) as hidden:
            names = [f"IM{index + 1:04d}.dcm" for index in range(len(slices))]
            for name, facts, values_hw in zip(names, slices, volume, strict=True):
                encoded = _write_slice(hidden / name, facts, values_hw, derivation, series)
                clipped += encoded.clipped
                moved += encoded.moved_off_padding
                rescaled += encoded.pixels != facts.pixels
            _check_series([hidden / name for name in names], geometry, series)
            hidden.rename(folder)
    except OSError as error:
        # pydicom wraps errors while writing; the system's own words are in the cause.
        system = error.__cause__ if isinstance(error.__cause__, OSError) else error
        reason = system.strerror or type(system).__name__
        raise DicomError(
            f"the output folder must be writable and have room; got {reason} at {output}. "
            "No series was written; make room or choose another folder."
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
                "Nothing was written; the denoised volume cannot be used."
            )


def _write_slice(
    file: Path, facts: SliceFacts, values_hw: NDArray[Any], derivation: Derivation, series: DerivedSeries
) -> EncodedSlice:
    """Derive one instance from its source file, save it and check what was saved."""
    try:
        source = pydicom.dcmread(facts.path)
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise refusal(
            f"a source file must stay readable; got {type(error).__name__}", "Run again.", path=facts.path
        ) from error
    encoded = encode_slice(values_hw, stored_values(source, facts.pixels, facts.path), facts.pixels)
    target = derive_dataset(source, encoded.stored_hw, encoded.pixels, derivation, series)
    target.save_as(file, enforce_file_format=True)
    _check_file(file, source, encoded, facts)
    return encoded


def encode_slice(values_hw: NDArray[Any], source_stored_hw: NDArray[np.int32], pixels: PixelFormat) -> EncodedSlice:
    """Turn values of the modality into stored values: rint((value - intercept) / slope).

    Parameters
    ----------
    values_hw : array, shape (H, W)
        Finite values.
    source_stored_hw : array, shape (H, W), int32
        Stored values of the source. Where the value was not changed, or the source is padding, they are kept
        exactly.
    pixels : PixelFormat

    Returns
    -------
    EncodedSlice
        Within the range of BitsStored; a pixel reads as padding if and only if it does in the source. In PET
        the slope is a new one, and no value but padding is kept, if the values do not fit the slope of the source.
    """
    padding = pixels.is_padding(source_stored_hw)
    kept = padding | (values_hw.astype(np.float32) == pixels.to_values(source_stored_hw))
    if pixels.slope_may_change:
        fitting = _fitting_slope(values_hw[~padding], pixels)
        if fitting != pixels.slope:
            kept, pixels = padding, replace(pixels, slope=fitting)
    exact = (values_hw.astype(np.float64) - pixels.intercept) / pixels.slope
    low, high = pixels.stored_range
    outside = ~kept & ((np.rint(exact) < low) | (np.rint(exact) > high))
    stored = np.rint(np.clip(exact, low, high)).astype(np.int32)
    collides = ~kept & pixels.is_padding(stored)
    if pixels.padding is not None and collides.any():
        stored[collides] = _nearest_outside(exact[collides], pixels.padding, (low, high))
    return EncodedSlice(
        stored_hw=np.where(kept, source_stored_hw, stored),
        clipped=int(np.count_nonzero(outside)),
        moved_off_padding=int(np.count_nonzero(collides)),
        pixels=pixels,
    )


def _fitting_slope(values: NDArray[Any], pixels: PixelFormat) -> float:
    """The slope of the source where all values fit it, else the smallest that they do fit.

    Values below 0 cannot be had without a sign, by no slope.
    """
    if not values.size:
        return pixels.slope
    low, high = pixels.stored_range
    needed = max(float(values.max()) / high, float(values.min()) / low if low else 0.0)
    if np.rint(needed / pixels.slope * high) <= high:
        return pixels.slope
    return float(str(DSfloat(needed, auto_format=True)))  # as the file will hold it


def _nearest_outside(
    exact: NDArray[np.float64], padding: tuple[int, int], stored_range: tuple[int, int]
) -> NDArray[np.int32]:
    """The stored value nearest to each exact one that is in range and not padding."""
    below, above = padding[0] - 1, padding[1] + 1
    to_below = exact - below < above - exact
    if below < stored_range[0]:
        to_below = np.zeros_like(to_below)
    elif above > stored_range[1]:
        to_below = np.ones_like(to_below)
    return np.where(to_below, below, above).astype(np.int32)


def _check_file(file: Path, source: Dataset, encoded: EncodedSlice, facts: SliceFacts) -> None:
    """Read a file back: pixels must be those that were meant, patient and geometry those of the source."""
    written = pydicom.dcmread(file)
    pixels = pixel_format(written, file)
    lossy = lossy_compression(source, pixels.byte_count) is not None
    wrong = [keyword for keyword in COPIED_KEYWORDS if text(written, keyword) != text(source, keyword)]
    wrong += [key for key in PATIENT_KEYWORDS if raw_value(written, key) != raw_value(source, key)]
    same_slope = encoded.pixels.slope == facts.pixels.slope
    if pixels.slope != encoded.pixels.slope or (
        same_slope and text(written, "RescaleSlope") != text(source, "RescaleSlope")
    ):
        wrong.append("RescaleSlope")
    if text(written, "LossyImageCompression") != ("01" if lossy else text(source, "LossyImageCompression")):
        wrong.append("LossyImageCompression")
    if values(written, "ImageType")[:1] != ("DERIVED",):
        wrong.append("ImageType")
    if text(written, "SOPInstanceUID") != text(written.file_meta, "MediaStorageSOPInstanceUID"):
        wrong.append("SOPInstanceUID")
    if not np.array_equal(stored_values(written, pixels, file), encoded.stored_hw):
        wrong.append("PixelData")
    if wrong:
        raise refusal(
            f"a written file must agree with its source; {', '.join(map(tag_text, wrong))} does not",
            "The series was not written. Please report this.",
            path=facts.path,
            header=facts.header,
        )


def _check_series(files: list[Path], geometry: SeriesGeometry, series: DerivedSeries) -> None:
    """Read the written headers as a series: same grid and order as the source, one series, UIDs all new."""
    plan = plan_series(files, allow_own_output=True)
    slices, found = plan.slices, plan.geometry
    uids = {text(facts.header, "SOPInstanceUID") for facts in slices}
    source_uids = {text(facts.header.SourceImageSequence[0], "ReferencedSOPInstanceUID") for facts in slices}
    of_series = {(text(facts.header, "SeriesInstanceUID"), text(facts.header, "SeriesNumber")) for facts in slices}
    rules = {
        "the geometry of the source": found == geometry,
        "the slice order of the source": [facts.path for facts in slices] == files,
        "one new SOPInstanceUID per slice": len(uids) == len(files) and not uids & source_uids,
        "one source image per slice": len(source_uids) == len(files),
        "one SeriesInstanceUID and SeriesNumber": of_series == {(series.SeriesInstanceUID, str(series.SeriesNumber))},
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise refusal(
            f"a written series must have {' and '.join(broken)}; it has not",
            "The series was not written. Please report this.",
            series_uid=series.SeriesInstanceUID,
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
