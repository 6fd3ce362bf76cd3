# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Decides from a header whether an image can be part of a volume, or is of a kind that must not be denoised."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import (
    UID,
    EnhancedMRColorImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
)

from nsn2n.dicom.attributes import PARSE_ERRORS, tag_text, text, values
from nsn2n.modality import Modality, names_of_all, policy_of

__all__ = [
    "ENHANCED_CLASSES",
    "IMAGE_CLASSES",
    "OWN_MANUFACTURER",
    "OWN_MODEL_NAME",
    "SINGLE_FRAME_CLASSES",
    "is_own_output",
    "why_no_image",
    "why_not_a_volume",
]

OWN_MANUFACTURER = "The nsn2n authors"
OWN_MODEL_NAME = "nsn2n"
"""Manufacturer and ManufacturerModelName of every series that we write, by which we recognize our own
output. (A private derivation code would serve the same purpose but costs two validator warnings per file.)"""

SINGLE_FRAME_CLASSES = frozenset(UID(uid) for row in map(policy_of, Modality) for uid in row.sop_classes)
"""SOP classes of single slices that the reader accepts."""

ENHANCED_CLASSES = frozenset(UID(uid) for row in map(policy_of, Modality) for uid in row.enhanced_sop_classes)
"""SOP classes of multi-frame images that the reader accepts."""

LATER_CLASSES = frozenset(
    {
        EnhancedMRColorImageStorage,
        LegacyConvertedEnhancedCTImageStorage,
        LegacyConvertedEnhancedMRImageStorage,
        LegacyConvertedEnhancedPETImageStorage,
    }
)
"""SOP classes of volumes that the reader refuses as not supported."""

IMAGE_CLASSES = SINGLE_FRAME_CLASSES | ENHANCED_CLASSES | LATER_CLASSES
"""SOP classes of the modalities; others are not examined."""

REFUSED_IMAGE_TYPES = {
    "LOCALIZER": "a localizer",
    "SCOUT": "a localizer",
    "MOSAIC": "a mosaic of slices",
    "VFRAME": "a mosaic of slices",
    "PROJECTION IMAGE": "a projection",
    "MIP": "a projection",
    "MAX_IP": "a projection",
    "MIN_IP": "a projection",
    "MINIP": "a projection",
    "P": "a phase image",
    "PHASE": "a phase image",
    "PHASE MAP": "a phase image",
    "R": "a real-part image",
    "REAL": "a real-part image",
    "I": "an imaginary-part image",
    "IMAGINARY": "an imaginary-part image",
    "VELOCITY MAP": "a velocity map",
    "FIELD_MAP": "a field map",
    "B0 MAP": "a field map",
    "B1 MAP": "a map of the transmit field",
    "ADC": "a derived map",
    "FA": "a derived map",
    "T1 MAP": "a derived map",
    "T2 MAP": "a derived map",
    "T2_STAR MAP": "a derived map",
    "DENSITY MAP": "a derived map",
    "DIFFUSION MAP": "a derived map",
    "RCBF": "a derived map",
    "RCBV": "a derived map",
    "MTT": "a derived map",
    "TTP": "a derived map",
}
"""Values of ImageType that denote, at any position, something whose noise is not that of the acquired image."""

FLAVOR, CONTRAST = 2, 3
"""Indices of value 3, image flavor (what was acquired), and value 4, derived pixel contrast (what was computed from
it) (PS3.3 C.8.16.1). Single-frame images of current scanners follow them too."""

REFUSED_FLAVORS = {
    "B0": "a field map",
    "B1": "a map of the transmit field",
}
"""Words that denote a map as flavor, as Philips writes it; as contrast together with DIFFUSION, B0 means b-value 0."""

REFUSED_CONTRASTS = {
    "PERFUSION": "a derived map",
    "VELOCITY": "a velocity map",
    "TEMPERATURE": "a derived map",
    "METABOLITE_MAP": "a derived map",
}
"""Words that denote a map as contrast, or in a DERIVED image; as flavor of an original, they denote the sequence."""

PRIVATE_SIGNS = (
    (0x0043, 0x2F, "GEMS_PARM_01", "is not 0, which means magnitude"),
    (0x0019, 0x0A, "SIEMENS MR HEADER", "is not 0: a mosaic of slices"),
)
"""Group, element, private creator of numbers that are not 0 in images of other kinds that ImageType does not reveal."""


def why_no_image(sop_class: UID) -> str | None:
    """Return a text if a SOP class is not an image of the modalities; None if it is."""
    if sop_class in IMAGE_CLASSES:
        return None
    return f"{tag_text('SOPClassUID')} is {sop_class.name or 'empty'}, which is no {names_of_all('or')} image"


def why_not_a_volume(header: Dataset) -> str | None:
    """Return why an image must not be denoised, or None.

    Checks SOPClassUID, ImageType, ComplexImageComponent and similar attributes, and FrameType in the header of a frame;
    geometry is not checked.
    """
    sop_class = UID(text(header, "SOPClassUID"))
    reason = why_no_image(sop_class)
    if reason:
        return reason
    component = text(header, "ComplexImageComponent").upper()
    derived_by_others = not is_own_output(header)
    for keyword in ("ImageType", "FrameType"):
        words = [str(value).strip().upper() for value in values(header, keyword)]
        for place, word in enumerate(words):
            kind = _kind(words, place, component, derived_by_others)
            if kind:
                return f"{tag_text(keyword)} {text(header, keyword)} has {word}: {kind}"
    # The frames of an image with several components are checked one by one.
    of_frames = sop_class in ENHANCED_CLASSES and "NumberOfFrames" in header
    if component in ("PHASE", "REAL", "IMAGINARY") or (component == "MIXED" and not of_frames):
        return f"{tag_text('ComplexImageComponent')} is {component}, not MAGNITUDE"
    for keyword, usual in (("PixelPresentation", "MONOCHROME"), ("VolumeBasedCalculationTechnique", "NONE")):
        found = text(header, keyword).upper()
        if found not in ("", usual) and not (found == "MIXED" and of_frames):
            return f"{tag_text(keyword)} is {found}, not {usual}"
    return _private_sign(header)


def _kind(words: Sequence[str], place: int, component: str, derived_by_others: bool) -> str | None:
    """Return the kind that a word at that position of ImageType or FrameType implies, if it must not be denoised.

    What this program derived has the flavor of its source, and is no map of it.
    """
    word = words[place]
    if word in REFUSED_IMAGE_TYPES:
        return REFUSED_IMAGE_TYPES[word]
    if place == FLAVOR and word in REFUSED_FLAVORS:
        return REFUSED_FLAVORS[word]
    # A sequence that encodes velocity makes a magnitude and a phase, of which the flavor says the same.
    velocities = word == "VELOCITY" and component != "MAGNITUDE"
    if place == CONTRAST or (words[0] == "DERIVED" and derived_by_others) or velocities:
        return REFUSED_CONTRASTS.get(word)
    return None


def _private_sign(header: Dataset) -> str | None:
    for group, element, creator, meaning in PRIVATE_SIGNS:
        try:
            value = header.get_private_item(group, element, creator).value
            number = int(value[0] if isinstance(value, (bytes, MultiValue)) else value)
        except (*PARSE_ERRORS, IndexError):
            continue
        if number:
            return f"private ({group:04X},xx{element:02X}) of {creator} {meaning}"
    return None


def is_own_output(header: Dataset) -> bool:
    """Whether a series was written by this program, perhaps with later processing steps on top."""
    contributors = values(header, "ContributingEquipmentSequence")
    return any(
        text(item, "Manufacturer") == OWN_MANUFACTURER and text(item, "ManufacturerModelName") == OWN_MODEL_NAME
        for item in (header, *contributors)
    )
