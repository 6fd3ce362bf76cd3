# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""b-value and gradient direction of diffusion images, from the standard attributes or from those of a vendor.

Single-frame MR images have no standard attributes for them, so most scanners write private ones. If a vendor
gives the direction in the axes of the patient, it is the DiffusionGradientOrientation (0018,9089) that the standard
defines for enhanced images (PS3.3 C.8.13.5.9). United Imaging gives it along row, column and normal of the image, GE
along frequency, phase and slice encoding. Canon and Toshiba write the b-value into the standard attribute, and the
direction there or into ImageComments, which are kept anyway.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import PARSE_ERRORS, text, values
from nsn2n.dicom.private_attributes import CSA_HEADER, creators_of, private_numbers
from nsn2n.dicom.slice_facts import SliceFacts

__all__ = ["Diffusion", "diffusion_key", "diffusion_of_series"]

Vector = tuple[float, ...]

GE_OFFSET = 1_000_000_000
"""GE adds it to b-values of scans with several: 1000000800 stands for 800 s/mm2."""

UNIT_LENGTH = 0.05
"""Largest deviation of a direction from length 1; others are markers of its absence."""

CSA_ENTRIES = 1000
"""More than any CSA header has."""

CSA_NAMES = (b"B_value\0", b"DiffusionGradientDirection\0")

GE_SCALED = 0.03
"""If a GE vector is shorter than 1 by more than this, its length gives the fraction of the b-value applied."""


@dataclass(frozen=True, slots=True)
class Diffusion:
    """Diffusion weighting of one image, as far as private attributes contain it."""

    b_value: float
    """In s/mm2."""
    orientation: Vector | None
    """Direction cosines in the axes of the patient; None without direction, or if the axes are not known."""


def diffusion_of_series(slices: Sequence[SliceFacts]) -> tuple[Diffusion | None, ...]:
    """Return the private diffusion attributes of each MR slice; None for all if no slice has a b-value above 0."""
    if text(slices[0].header, "Modality") != "MR":
        return (None,) * len(slices)
    ascending = _is_ascending(slices)
    found = tuple(_private(facts.header, ascending) for facts in slices)
    b_values = {diffusion.b_value for diffusion in found if diffusion is not None}
    sensitized = max(b_values, default=0) > 0
    if sensitized and len(b_values) == 1 and _vendor(slices[0].header)[2] == "encoding":
        # In scans without diffusion GE stores other numbers in these elements, constant over the series.
        sensitized = all(abs(_length(_vendor(facts.header)[1]) - 1) < UNIT_LENGTH for facts in slices)
    return found if sensitized else (None,) * len(slices)


def diffusion_key(header: Dataset) -> tuple[str, str]:
    """Return texts of b-value and direction that are equal in one volume: the standard ones, else those of a vendor."""
    standard = text(header, "DiffusionBValue"), text(header, "DiffusionGradientOrientation")
    if all(standard) or text(header, "Modality") != "MR":
        return standard
    b_value, vector, _ = _vendor(header)
    own_b = "" if b_value is None else f"{b_value:.0f}"
    own_vector = "\\".join(f"{component + 0.0:.3f}" for component in vector)
    return standard[0] or own_b, standard[1] or own_vector


def _private(header: Dataset, ascending: bool) -> Diffusion | None:
    b_value, vector, axes = _vendor(header)
    if b_value is None:
        return None
    length = _length(vector)
    if axes == "encoding":
        if 0 < length < 1 - GE_SCALED:
            b_value, vector, length = b_value * length**2, tuple(component / length for component in vector), 1.0
        vector = _from_encoding(vector, header) if ascending else ()
    elif axes == "image":
        vector = _from_image(vector, header)
    if b_value <= 0 or len(vector) != 3 or abs(length - 1) > UNIT_LENGTH:
        return Diffusion(b_value, None)
    return Diffusion(b_value, tuple(float(component) / length + 0.0 for component in vector))


def _vendor(header: Dataset) -> tuple[float | None, Vector, str]:
    """Return b-value, vector and its axes: ``patient``, ``image`` or ``encoding``."""
    creators = creators_of(header)

    def numbers(creator: str, group: int, *elements: int) -> Vector:
        return tuple(
            number for element in elements for number in private_numbers(header, creators, creator, group, element)
        )

    if found := numbers("SIEMENS MR HEADER", 0x0019, 0x0C):
        return _first(found), numbers("SIEMENS MR HEADER", 0x0019, 0x0E), "patient"
    if found := numbers("GEMS_PARM_01", 0x0043, 0x39):
        return _first(found) % GE_OFFSET, numbers("GEMS_ACQU_01", 0x0019, 0xBB, 0xBC, 0xBD), "encoding"
    if found := numbers("Philips Imaging DD 001", 0x2001, 0x03):
        return _first(found), numbers("Philips MR Imaging DD 001", 0x2005, 0xB0, 0xB1, 0xB2), "patient"
    if found := numbers("Image Private Header", 0x0065, 0x09):
        return _first(found), numbers("Image Private Header", 0x0065, 0x37), "image"
    return (*_csa(header), "patient")


def _length(vector: Vector) -> float:
    return float(np.linalg.norm(vector)) if vector else 0.0


def _first(numbers: Vector) -> float:
    return max(numbers[0], 0.0)


def _csa(header: Dataset) -> tuple[float | None, Vector]:
    """Return what older Siemens software stores only in its binary CSA header, of the second version (``SV10``)."""
    try:
        creator, group, element = CSA_HEADER
        data = bytes(header.get_private_item(group, element, creator).value)
        entries = _csa_entries(data) if data.startswith(b"SV10") else {}
    except PARSE_ERRORS:
        return None, ()
    b_values, vector = entries.get("B_value", ()), entries.get("DiffusionGradientDirection", ())
    return (_first(b_values) if b_values else None), vector


def _csa_entries(data: bytes) -> dict[str, Vector]:
    """Return the diffusion entries: each is a name, the number of items, and items preceded by their length."""
    found: dict[str, Vector] = {}
    (count,) = struct.unpack_from("<I", data, 8)
    place = 16
    for _ in range(min(count, CSA_ENTRIES)):
        name, items = struct.unpack_from("<64s12xi4x", data, place)
        place += 84
        numbers = []
        for _ in range(items):
            (length,) = struct.unpack_from("<4xI8x", data, place)
            text_of_item = data[place + 16 : place + 16 + length].split(b"\0")[0].strip()
            place += 16 + length + -length % 4
            if name.startswith(CSA_NAMES) and text_of_item:
                numbers.append(float(text_of_item))
        if numbers and all(map(math.isfinite, numbers)):
            found[name.split(b"\0")[0].decode("ascii")] = tuple(numbers)
    return found


def _axes(header: Dataset) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """Return directions of row, column and normal in the axes of the patient; None if they are missing."""
    try:
        cosines = np.array(values(header, "ImageOrientationPatient"), dtype=float).reshape(2, 3)
    except PARSE_ERRORS:
        return None
    return np.array([*cosines, np.cross(*cosines)])


def _from_image(vector: Vector, header: Dataset) -> Vector:
    axes = _axes(header)
    return () if axes is None or len(vector) != 3 else tuple(vector @ axes)


def _from_encoding(vector: Vector, header: Dataset) -> Vector:
    """Return the direction of GE in the axes of the patient, for the only case in which the signs are known.

    That is axial slices, head first supine, with phase encoding along columns: dcm2niix obtains the published
    directions of its test data from (-x, -y, z) along row, column and normal, and describes all else as untested.
    """
    axes = _axes(header)
    known = (
        len(vector) == 3
        and axes is not None
        and int(np.argmax(np.abs(axes[2]))) == 2
        and text(header, "PatientPosition") == "HFS"
        and text(header, "InPlanePhaseEncodingDirection") in ("COL", "COLUMN")
    )
    return tuple(np.array([-vector[0], -vector[1], vector[2]]) @ axes) if known and axes is not None else ()


def _is_ascending(slices: Sequence[SliceFacts]) -> bool:
    """Whether slices are numbered along their normal, on which the sign of GE's third component depends."""
    axes = _axes(slices[0].header)
    try:
        numbers = [int(values(facts.header, "InstanceNumber")[0]) for facts in slices]
    except PARSE_ERRORS:
        return False
    if axes is None or len(slices) < 2:
        return False
    along_mm = np.array([facts.position_mm for facts in slices]) @ axes[2]
    return bool(np.cov(numbers, along_mm)[0, 1] > 0)
