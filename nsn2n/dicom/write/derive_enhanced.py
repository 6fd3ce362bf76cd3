# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Creates the dataset of a denoised enhanced multi-frame image from that of its source.

As for single slices (`nsn2n.dicom.write.derive`), but frames are described in functional groups: FrameType becomes
DERIVED wherever it occurs, each frame gets a Derivation Image macro that names its source frame (PS3.3 C.7.6.16.2.6),
and the image lists its sources (SourceImageEvidenceSequence, C.8.13.2).
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.tag import BaseTag, Tag
from pydicom.valuerep import DSfloat

from nsn2n.dicom.attributes import text, values
from nsn2n.dicom.functional_groups import FRAME_TYPE_MACROS, PER_FRAME, SHARED
from nsn2n.dicom.image_kinds import OWN_MODEL_NAME
from nsn2n.dicom.pixels.encoding import EncodedSlice
from nsn2n.dicom.write.derivation import Derivation
from nsn2n.dicom.write.derive import (
    DerivedSeries,
    code_item,
    derived_type,
    describe,
    dropped,
    set_lossy_compression,
    source_reference,
)

__all__ = ["derive_enhanced"]

PIXEL_DATA = Tag("PixelData")


def derive_enhanced(
    source: Dataset, frames: Sequence[EncodedSlice], derivation: Derivation, series: DerivedSeries
) -> Dataset:
    """Create the dataset of a derived enhanced image.

    Parameters
    ----------
    source : Dataset
        The source image as read from its file; not changed.
    frames : sequence of EncodedSlice
        New stored values of each frame, in the order of the frames.
    derivation, series
        What all images of the series share.

    Returns
    -------
    Dataset
        With file meta information, for explicit VR little endian.
    """
    kept = _private_dimensions(source)
    # Dropped here so that the old pixels are not even read.
    target = describe(source, derivation, series, lambda tag: tag == PIXEL_DATA or (dropped(tag) and tag not in kept))
    target.ImageType = derived_type(source, "ImageType")
    target.ContentQualification = "RESEARCH"
    target.DeviceSerialNumber = OWN_MODEL_NAME  # type 1 here, and a program has none
    target.SourceImageEvidenceSequence = [_evidence(source)]
    set_lossy_compression(target, source, sum(frame.pixels.byte_count for frame in frames))
    shared = next(iter(target.get(SHARED) or []), Dataset())
    groups = list(target[PER_FRAME].value)
    for group in (shared, *groups):
        group.pop("DerivationImageSequence", None)
        for keyword in FRAME_TYPE_MACROS:
            for item in group.get(keyword) or []:
                item.FrameType = derived_type(item, "FrameType")
    if any(frame.new_slope for frame in frames):
        _move_slopes(shared, groups)
    for index, (group, frame) in enumerate(zip(groups, frames, strict=True)):
        group.DerivationImageSequence = [_derivation_item(source, index, derivation)]
        if frame.new_slope:
            group.PixelValueTransformationSequence[0].RescaleSlope = DSfloat(frame.pixels.slope, auto_format=True)
            group.pop("RealWorldValueMappingSequence", None)
    _set_pixels(target, frames)
    return target


def _private_dimensions(source: Dataset) -> frozenset[BaseTag]:
    """Return private attributes that dimensions point to, and their creators, so that no pointer dangles."""
    tags: set[BaseTag] = set()
    for item in source.get("DimensionIndexSequence") or []:
        for keyword in ("DimensionIndexPointer", "FunctionalGroupPointer"):
            for value in values(item, keyword):
                tag = Tag(value)
                if tag.is_private:
                    tags |= {tag, Tag(tag.group, tag.element >> 8)}
    return frozenset(tags)


def _evidence(source: Dataset) -> Dataset:
    image = Dataset()
    image.ReferencedSOPClassUID = text(source, "SOPClassUID")
    image.ReferencedSOPInstanceUID = text(source, "SOPInstanceUID")
    of_series = Dataset()
    of_series.SeriesInstanceUID = text(source, "SeriesInstanceUID")
    of_series.ReferencedSOPSequence = [image]
    of_study = Dataset()
    of_study.StudyInstanceUID = text(source, "StudyInstanceUID")
    of_study.ReferencedSeriesSequence = [of_series]
    return of_study


def _derivation_item(source: Dataset, index: int, derivation: Derivation) -> Dataset:
    item = Dataset()
    item.DerivationDescription = derivation.description
    item.DerivationCodeSequence = [code_item(codes.DCM.Smoothing)]
    item.SourceImageSequence = [source_reference(source, index)]
    return item


def _move_slopes(shared: Dataset, groups: Sequence[Dataset]) -> None:
    """Give each frame a separate slope if all shared one; mappings of the old stored values are removed."""
    shared.pop("RealWorldValueMappingSequence", None)
    common = shared.get("PixelValueTransformationSequence")
    if common is None:
        return
    del shared.PixelValueTransformationSequence
    for group in groups:
        group.PixelValueTransformationSequence = copy.deepcopy(common)


def _set_pixels(target: Dataset, frames: Sequence[EncodedSlice]) -> None:
    pixels = frames[0].pixels
    data = b"".join(frame.stored_hw.astype(pixels.dtype).tobytes() for frame in frames)
    vr = "OW" if pixels.bits_allocated == 16 else "OB"
    target.add_new(Tag("PixelData"), vr, data + b"\0" * (len(data) % 2))
    for keyword, value in (
        ("SmallestImagePixelValue", min(int(frame.stored_hw.min()) for frame in frames)),
        ("LargestImagePixelValue", max(int(frame.stored_hw.max()) for frame in frames)),
    ):
        if keyword in target:
            target.add_new(Tag(keyword), "SS" if pixels.signed else "US", value)
