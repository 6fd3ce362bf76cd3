# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Creates the dataset of a denoised slice from that of its source: attributes are kept, changed, added or removed.

Patient, study, frame of reference, position and acquisition are kept byte for byte. The instance and its series
get new UIDs; ImageType becomes DERIVED; SourceImageSequence names the source slice (PS3.3 C.7.6.1.1, C.12.4).
General Equipment names this program, since it computed the pixels, and the scanner moves to
ContributingEquipmentSequence as acquisition equipment (PS3.3 C.7.5.1). The derivation code is (113087, DCM,
"Smoothing"), the closest in CID 7203; a private code would be more specific but is unknown to every receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray
from pydicom.charset import decode_bytes, encode_string
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.tag import BaseTag, Tag
from pydicom.uid import UID, ExplicitVRLittleEndian, generate_uid
from pydicom.valuerep import DSfloat

from nsn2n.dicom.attributes import series_number, text, values
from nsn2n.dicom.diffusion import Diffusion
from nsn2n.dicom.image_kinds import OWN_MANUFACTURER, OWN_MODEL_NAME
from nsn2n.dicom.pixels.pixel_codecs import lossy_compression
from nsn2n.dicom.pixels.pixel_format import PixelFormat, embedded_overlay_groups
from nsn2n.dicom.private_attributes import safe_private_tags
from nsn2n.dicom.write.derivation import LARGEST_SERIES_NUMBER, LONG_STRING_CHARACTERS, Derivation
from nsn2n.dicom.write.transcode import raw_element, to_explicit_little_endian
from nsn2n.modality import policy_of_sop_class

__all__ = [
    "DerivedSeries",
    "code_item",
    "derive_dataset",
    "derived_type",
    "describe",
    "dropped",
    "new_series",
    "series_description",
    "set_lossy_compression",
    "source_reference",
]

IMPLEMENTATION_CLASS_UID = UID("2.25.159885078256520337914654049507870583811")
"""Names this program in file meta information; a fixed UID under the root that needs no registration."""

SCANNER_KEYWORDS = (
    "Manufacturer",
    "InstitutionName",
    "StationName",
    "InstitutionalDepartmentName",
    "ManufacturerModelName",
    "DeviceSerialNumber",
    "SoftwareVersions",
    "DeviceUID",
    "SpatialResolution",
    "DateOfLastCalibration",
    "TimeOfLastCalibration",
)
"""General Equipment attributes that describe the scanner and go to its ContributingEquipmentSequence item."""

KEPT_EQUIPMENT_KEYWORDS = frozenset({"InstitutionName", "InstitutionalDepartmentName"})
"""Still valid at the top level: the site is the same."""

REMOVED_KEYWORDS = (
    *(keyword for keyword in SCANNER_KEYWORDS if keyword not in KEPT_EQUIPMENT_KEYWORDS),
    "UDISequence",
    "ManufacturerDeviceClassUID",
    "DateOfManufacture",
    "DateOfInstallation",
    # The procedure step that created the source did not create this series.
    "ReferencedPerformedProcedureStepSequence",
    "PerformedProcedureStepID",
    "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime",
    "PerformedProcedureStepEndDate",
    "PerformedProcedureStepEndTime",
    "PerformedProcedureStepDescription",
    "PerformedProtocolCodeSequence",
    "CommentsOnThePerformedProcedureStep",
    # These describe the old pixels or the old instance.
    "PixelData",
    "IconImageSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    "EncryptedAttributesSequence",
    "OriginalAttributesSequence",
    "DataSetTrailingPadding",
    "InstanceCreatorUID",
    "RetrieveAETitle",
    "RetrieveURL",
    "RetrieveLocationUID",
    "StorageMediaFileSetID",
    "StorageMediaFileSetUID",
    "InstanceAvailability",
)


@dataclass(frozen=True)
class DerivedSeries:
    """What all instances of a derived series share."""

    SeriesInstanceUID: str
    SeriesNumber: int
    created: datetime
    """With time zone."""


def new_series(source: Dataset, derivation: Derivation, taken_series_numbers: Collection[int] = ()) -> DerivedSeries:
    """Choose UID, number and time of a derived series; each call creates a new UID.

    Parameters
    ----------
    source : Dataset
        Header of any slice of the source.
    derivation : Derivation
    taken_series_numbers : collection of int
        Numbers in use in the study; the first free one, starting with the requested one, is used.
    """
    number = (series_number(source) or 0) + derivation.series_number_offset
    while number in taken_series_numbers:
        number += 1
    if not -LARGEST_SERIES_NUMBER <= number <= LARGEST_SERIES_NUMBER:
        number = derivation.series_number_offset
        while number in taken_series_numbers:
            number += 1
    return DerivedSeries(generate_uid(prefix=None), number, datetime.now(timezone.utc))


def derive_dataset(
    source: Dataset,
    stored_hw: NDArray[np.int32],
    pixels: PixelFormat,
    derivation: Derivation,
    series: DerivedSeries,
    diffusion: Diffusion | None = None,
) -> Dataset:
    """Create the dataset of one derived slice.

    Parameters
    ----------
    source : Dataset
        The source slice as read from its file; not changed.
    stored_hw : array, shape (H, W)
        New stored values, within the range of `pixels`.
    pixels : PixelFormat
        Coding of the derived slice: that of the source, possibly with another slope.
    derivation, series
        What all slices share.
    diffusion : Diffusion, optional
        Content of private attributes of the source; written if the standard ones are absent.

    Returns
    -------
    Dataset
        With file meta information, for explicit VR little endian.
    """
    target = describe(source, derivation, series, dropped)
    if diffusion is not None:
        _set_diffusion(target, diffusion)
    _set_derivation(target, source, derivation)
    set_lossy_compression(target, source, pixels.byte_count)
    _set_pixels(target, stored_hw, pixels)
    return target


def describe(
    source: Dataset, derivation: Derivation, series: DerivedSeries, drop: Callable[[BaseTag], bool]
) -> Dataset:
    """Copy a source with the identity, equipment, dates and file meta information of a derived image.

    Pixels and their derivation are left to the caller, as are attributes that `drop` leaves out at all levels.
    """
    target = to_explicit_little_endian(source, drop, safe_private_tags)
    for group in embedded_overlay_groups(target):
        for tag in [tag for tag in target.keys() if tag.group == group]:  # noqa: SIM118
            del target[tag]
    scanner = _scanner_item(target)
    for keyword in REMOVED_KEYWORDS:
        if keyword in target:
            del target[keyword]
    _set_identity(target, source, series, derivation)
    _set_equipment(target, scanner, derivation)
    _set_dates(target, series)
    target.file_meta = FileMetaDataset()
    target.file_meta.MediaStorageSOPClassUID = target.SOPClassUID
    target.file_meta.MediaStorageSOPInstanceUID = target.SOPInstanceUID
    target.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    target.file_meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    target.file_meta.ImplementationVersionName = f"NSN2N_{derivation.software_version}"[:16]
    return target


def dropped(tag: BaseTag) -> bool:
    """Drop private attributes (may hold identity or old pixels; safe ones are kept), curves, group lengths."""
    curve = 0x5000 <= tag.group <= 0x50FF
    return tag.is_private or curve or tag.element == 0 or tag == 0xFFFAFFFA or tag == 0xFFFCFFFC


def _set_identity(target: Dataset, source: Dataset, series: DerivedSeries, derivation: Derivation) -> None:
    target.SOPInstanceUID = generate_uid(prefix=None)
    target.SeriesInstanceUID = series.SeriesInstanceUID
    target.SeriesNumber = series.SeriesNumber
    target[Tag("SeriesDescription")] = series_description(source, derivation.series_description_end)


def series_description(source: Dataset, suffix: str) -> RawDataElement:
    """``<source> <suffix>`` within 64 characters; the bytes of the source's text are not changed."""
    tag = Tag("SeriesDescription")
    element = source.get_item(tag) if tag in source else None
    value = b"" if element is None or element.value is None else element.value
    encodings = source.original_character_set or "iso8859"
    codecs = [encodings] if isinstance(encodings, str) else list(encodings)
    original = (value if isinstance(value, bytes) else encode_string(str(value), codecs)).strip(b" \0")
    room = LONG_STRING_CHARACTERS - len(suffix) - 1
    if len(original) > room:
        original = original[:room] if original.isascii() else _cut(original, room, codecs)
    joined = b" ".join(part for part in (original.rstrip(), suffix.encode("ascii")) if part)
    return raw_element(tag, "LO", joined + b" " * (len(joined) % 2))


def _cut(value: bytes, characters: int, codecs: list[str]) -> bytes:
    """Cut a text that is not ASCII; drop it if its bytes do not match its character set."""
    decoded = decode_bytes(value, codecs, set())
    if encode_string(decoded, codecs) != value:
        return b""
    return encode_string(decoded[:characters], codecs)


def _scanner_item(target: Dataset) -> Dataset | None:
    """ContributingEquipmentSequence item for the equipment that acquired the images (PS3.3 C.12.1.1.5)."""
    described = [keyword for keyword in SCANNER_KEYWORDS if keyword in target]
    if not described:
        return None
    item = Dataset()
    for keyword in described:
        item[Tag(keyword)] = target.get_item(Tag(keyword))
    item.set_original_encoding(False, True, target.original_character_set)
    if not text(target, "Manufacturer"):
        item.Manufacturer = "unknown"  # type 1 in this sequence
    item.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.AcquisitionEquipment)]
    return item


def _set_equipment(target: Dataset, scanner: Dataset | None, derivation: Derivation) -> None:
    target.Manufacturer = OWN_MANUFACTURER
    target.ManufacturerModelName = OWN_MODEL_NAME
    target.SoftwareVersions = derivation.software_version
    if scanner is not None:
        earlier = list(target.get("ContributingEquipmentSequence") or [])
        target.ContributingEquipmentSequence = Sequence([*earlier, scanner])


def _set_derivation(target: Dataset, source: Dataset, derivation: Derivation) -> None:
    target.ImageType = derived_type(source, "ImageType")
    target.DerivationDescription = derivation.description
    if derivation.research_mark:
        target.ContentQualification = "RESEARCH"
    target.DerivationCodeSequence = [code_item(codes.DCM.Smoothing)]
    target.SourceImageSequence = [source_reference(source)]


def _set_diffusion(target: Dataset, diffusion: Diffusion) -> None:
    if not values(target, "DiffusionBValue"):
        target.DiffusionBValue = diffusion.b_value
    if diffusion.orientation is not None and not values(target, "DiffusionGradientOrientation"):
        target.DiffusionGradientOrientation = list(diffusion.orientation)


def derived_type(dataset: Dataset, keyword: str) -> list[str]:
    """Return ImageType or FrameType with DERIVED as its first value."""
    return ["DERIVED", *([str(value) for value in values(dataset, keyword)][1:] or ["PRIMARY"])]


def source_reference(source: Dataset, frame: int | None = None) -> Dataset:
    """SourceImageSequence item for an image, or for the frame of it with that index (PS3.3 C.12.4.1.2)."""
    reference = Dataset()
    reference.ReferencedSOPClassUID = text(source, "SOPClassUID")
    reference.ReferencedSOPInstanceUID = text(source, "SOPInstanceUID")
    if frame is not None:
        reference.ReferencedFrameNumber = frame + 1
    reference.PurposeOfReferenceCodeSequence = [code_item(codes.DCM.SourceImageForImageProcessingOperation)]
    return reference


def code_item(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = (
        code.value,
        code.scheme_designator,
        code.meaning,
    )
    return item


def _set_dates(target: Dataset, series: DerivedSeries) -> None:
    # In PET, decay and frame times count from the time of the series: a new one would falsify uptake values
    # (PS3.3 C.8.9.1.1.5, C.8.9.4).
    sop_class = text(target, "SOPClassUID")
    policy = policy_of_sop_class(sop_class)
    keeps_series_time = policy.counts_from_series_time and sop_class in policy.sop_classes
    moment = series.created.astimezone(_time_zone(text(target, "TimezoneOffsetFromUTC")))
    for name in ("InstanceCreation", "Content", *(() if keeps_series_time else ("Series",))):
        setattr(target, f"{name}Date", moment.strftime("%Y%m%d"))
        setattr(target, f"{name}Time", moment.strftime("%H%M%S.%f"))


def _time_zone(offset: str) -> timezone | None:
    """Dates of a dataset are in its TimezoneOffsetFromUTC (``+0100``); without one, in local time."""
    if len(offset) != 5 or offset[0] not in "+-" or not offset[1:].isdigit():
        return None
    minutes = int(offset[1:3]) * 60 + int(offset[3:])
    return timezone(timedelta(minutes=-minutes if offset[0] == "-" else minutes)) if minutes < 24 * 60 else None


def set_lossy_compression(target: Dataset, source: Dataset, native_bytes: int) -> None:
    """Record earlier lossy compression, which no later step can undo (PS3.3 C.7.6.1.1.5).

    What the source records is kept, but it may lack the step that compressed it last.
    """
    lossy = lossy_compression(source, native_bytes)
    if lossy is None:
        return
    target.LossyImageCompression = "01"
    if not (values(target, "LossyImageCompressionRatio") and values(target, "LossyImageCompressionMethod")):
        target.LossyImageCompressionRatio = f"{lossy.ratio:.4g}"
        target.LossyImageCompressionMethod = lossy.method


def _set_pixels(target: Dataset, stored_hw: NDArray[np.int32], pixels: PixelFormat) -> None:
    data = stored_hw.astype(pixels.dtype).tobytes()
    vr = "OW" if pixels.bits_allocated == 16 else "OB"
    target.add_new(Tag("PixelData"), vr, data + b"\0" * (len(data) % 2))
    if pixels.slope_may_change and pixels.slope != float(target.RescaleSlope):
        target.RescaleSlope = DSfloat(pixels.slope, auto_format=True)
        # It maps the stored values of the old slope; the new ones give the same Units by RescaleSlope.
        target.pop("RealWorldValueMappingSequence", None)
    for keyword, value in (
        ("SmallestImagePixelValue", stored_hw.min()),
        ("LargestImagePixelValue", stored_hw.max()),
    ):
        if keyword in target:
            target.add_new(Tag(keyword), "SS" if pixels.signed else "US", int(value))
