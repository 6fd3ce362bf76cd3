# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Frames of an enhanced multi-frame image, each with a header like that of a single-frame image.

A frame is described by macros: sequences of one item in the shared or per-frame functional groups (PS3.3 C.7.6.16).
When flattened, frames obey the same rules as single slices.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from nsn2n.dicom.attributes import integer, refusal, text
from nsn2n.modality import Modality, policy_of

__all__ = ["FRAME_TYPE_MACROS", "PER_FRAME", "SHARED", "flat_frames", "frame_label"]

SHARED = "SharedFunctionalGroupsSequence"
PER_FRAME = "PerFrameFunctionalGroupsSequence"

FRAME_TYPE_MACROS = tuple(policy_of(modality).frame_type_sequence for modality in Modality)

MACROS = (
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "PixelValueTransformationSequence",
    "FrameContentSequence",
    *FRAME_TYPE_MACROS,
    "MREchoSequence",
    "MRDiffusionSequence",
    "MRTimingAndRelatedParametersSequence",
    "MRModifierSequence",
    "CardiacSynchronizationSequence",
    "TemporalPositionSequence",
    "CTReconstructionSequence",
    "CTXRayDetailsSequence",
)
"""Macros whose attributes are used by the rules for slices."""

NECESSARY_MACROS = ("PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence")

NOT_FLAT = (SHARED, PER_FRAME, "NumberOfFrames", "PixelData", "DimensionIndexSequence")
"""Attributes that are omitted from the header of a frame."""

EXPORT_AGAIN = "Export the series again, if possible as single-frame images."


def frame_label(path: Path, index: int) -> Path:
    """Name of a frame, for messages: its number counts from 1, as in DICOM."""
    return path.with_name(f"{path.name} frame {index + 1}")


def flat_frames(header: Dataset, path: Path) -> list[Dataset]:
    """Return the flattened header of each frame.

    Parameters
    ----------
    header : Dataset
        Of an enhanced CT, MR or PET image, with file meta information.
    path : Path
        For messages.

    Returns
    -------
    list of Dataset
        In the order of the frames: the attributes of the image and those of the frame's `MACROS` on one level.

    Raises
    ------
    DicomError
        If the functional groups are not those of NumberOfFrames frames, or a frame has no position.
    """
    count = integer(header, "NumberOfFrames", path)
    frames = header.get(PER_FRAME) or []
    if count < 1 or len(frames) != count:
        raise refusal(
            f"must describe each of the {count} frames of NumberOfFrames; got {len(frames)} items",
            EXPORT_AGAIN,
            keyword=PER_FRAME,
            path=path,
            header=header,
        )
    if text(header, "ConcatenationUID"):
        raise refusal(
            "must be absent: an image that is split over several instances is not supported",
            EXPORT_AGAIN,
            keyword="ConcatenationUID",
            path=path,
            header=header,
        )
    shared = next(iter(header.get(SHARED) or []), Dataset())
    common = {tag: header.get_item(tag) for tag in header.keys()}  # noqa: SIM118
    return [_flat(header, common, shared, frame, path, index) for index, frame in enumerate(frames)]


def _flat(
    header: Dataset,
    common: Mapping[BaseTag, DataElement | RawDataElement],
    shared: Dataset,
    frame: Dataset,
    path: Path,
    index: int,
) -> Dataset:
    flat = Dataset()
    implicit, little_endian = header.original_encoding
    flat.set_original_encoding(implicit, little_endian, header.original_character_set)
    flat.file_meta = header.file_meta
    for tag, element in common.items():
        flat[tag] = element
    for keyword in NOT_FLAT:
        if keyword in flat:
            del flat[keyword]
    for keyword in MACROS:
        items = (frame if keyword in frame else shared).get(keyword) or []
        if len(items) > 1 or (not items and keyword in NECESSARY_MACROS):
            raise refusal(
                f"must have one item for each frame; got {len(items)}",
                EXPORT_AGAIN,
                keyword=keyword,
                path=frame_label(path, index),
                header=header,
            )
        for item in items:
            for element in item:
                flat[element.tag] = element
                if element.keyword == "DiffusionGradientDirectionSequence" and element.value:
                    flat.update(element.value[0])
    return flat
