# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads back written files and compares them with their source before they get their final names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import raw_value, refusal, tag_text, text, values
from nsn2n.dicom.functional_groups import FRAME_TYPE_MACROS, PER_FRAME, SHARED
from nsn2n.dicom.headers import read_header
from nsn2n.dicom.pixels.encoding import EncodedSlice
from nsn2n.dicom.pixels.pixel_codecs import lossy_compression
from nsn2n.dicom.pixels.pixel_format import pixel_format, stored_values
from nsn2n.dicom.pixels.stored_pixels import frame_datasets
from nsn2n.dicom.read.slice_sorting import SeriesPlan, plan_series
from nsn2n.dicom.slice_facts import SliceFacts, check_file
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.errors import DicomError

__all__ = ["check_enhanced_file", "check_series", "check_slice_file"]

PATIENT_KEYWORDS = ("PatientID", "PatientName", "PatientBirthDate", "AccessionNumber")
"""Compared as bytes, since decoding an invalid one makes pydicom log a warning with its value."""

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


def check_slice_file(file: Path, source: Dataset, encoded: EncodedSlice, facts: SliceFacts) -> None:
    """Read a file back: pixels must be those intended, patient and geometry those of the source."""
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
    wrong += _wrong_identity(written)
    if not np.array_equal(stored_values(written, pixels, file), encoded.stored_hw):
        wrong.append("PixelData")
    if wrong:
        raise _disagrees(wrong, facts)


def check_enhanced_file(
    file: Path, source: Dataset, frames: Sequence[EncodedSlice], slices: Sequence[SliceFacts]
) -> None:
    """Read an enhanced image back: each frame must have the attributes of its source and the pixels intended."""
    written = read_header(file)
    wrong = [keyword for keyword in COPIED_KEYWORDS if text(written, keyword) != text(source, keyword)]
    wrong += [key for key in PATIENT_KEYWORDS if raw_value(written, key) != raw_value(source, key)]
    found = check_file(written, file, allow_own_output=True)
    if len(found) != len(slices):
        raise _disagrees(["NumberOfFrames"], slices[0])
    groups = [*(written.get(SHARED) or []), *written[PER_FRAME].value]
    kinds = [item for group in groups for keyword in FRAME_TYPE_MACROS for item in group.get(keyword) or []]
    if any(values(item, "FrameType")[:1] != ("DERIVED",) for item in kinds):
        wrong.append("FrameType")
    for dataset, here, there, encoded in zip(frame_datasets(file, found), found, slices, frames, strict=True):
        wrong += [
            keyword
            for keyword, agrees in (
                ("ImagePositionPatient", here.position_mm == there.position_mm),
                ("ImageOrientationPatient", here.orientation == there.orientation),
                ("PixelSpacing", here.pixel_spacing_mm == there.pixel_spacing_mm),
                ("RescaleSlope", here.pixels == encoded.pixels),
                ("PixelData", np.array_equal(stored_values(dataset, here.pixels, file), encoded.stored_hw)),
            )
            if not agrees
        ]
    wrong += _wrong_identity(written)
    if wrong:
        raise _disagrees(sorted(set(wrong)), slices[0])


def _wrong_identity(written: Dataset) -> list[str]:
    wrong = [] if values(written, "ImageType")[:1] == ("DERIVED",) else ["ImageType"]
    if text(written, "SOPInstanceUID") != text(written.file_meta, "MediaStorageSOPInstanceUID"):
        wrong.append("SOPInstanceUID")
    return wrong


def _disagrees(wrong: Sequence[str], facts: SliceFacts) -> DicomError:
    return refusal(
        f"a written file must agree with its source; {', '.join(map(tag_text, wrong))} does not",
        "The series was not written. Please report this.",
        path=facts.path,
        header=facts.header,
    )


def check_series(source: SeriesPlan, files: list[Path], series: DerivedSeries) -> None:
    """Read the written headers as a series: same grid and order as the source, one series, UIDs all new."""
    written = plan_series(files, allow_own_output=True)
    uids = {text(facts.header, "SOPInstanceUID") for facts in written.slices}
    source_uids = {_source_uid(facts.header) for facts in written.slices}
    headers = [facts.header for facts in written.slices]
    of_series = {(text(header, "SeriesInstanceUID"), text(header, "SeriesNumber")) for header in headers}
    order = [(_source_uid(facts.header), facts.frame) for facts in written.slices]
    rules = {
        "the geometry of the source": written.geometry == source.geometry,
        "the slice order of the source": order
        == [(text(facts.header, "SOPInstanceUID"), facts.frame) for facts in source.slices],
        "one new SOPInstanceUID per file": len(uids) == len(files) and not uids & source_uids,
        "one source image per file": len(source_uids) == len(files),
        "one SeriesInstanceUID and SeriesNumber": of_series == {(series.SeriesInstanceUID, str(series.SeriesNumber))},
    }
    broken = [rule for rule, holds in rules.items() if not holds]
    if broken:
        raise refusal(
            f"a written series must have {' and '.join(broken)}; it does not",
            "The series was not written. Please report this.",
            series_uid=series.SeriesInstanceUID,
        )


def _source_uid(header: Dataset) -> str:
    """Return the SOPInstanceUID of the source of a derived image."""
    if "SourceImageEvidenceSequence" in header:
        of_series = header.SourceImageEvidenceSequence[0].ReferencedSeriesSequence[0]
        return text(of_series.ReferencedSOPSequence[0], "ReferencedSOPInstanceUID")
    return text(header.SourceImageSequence[0], "ReferencedSOPInstanceUID")
