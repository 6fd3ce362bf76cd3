# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Private attributes whose meaning is known: which are kept in a derived image, and their numbers.

A private element belongs to the creator that reserved its block (PS3.5 7.8.1), so each is looked up by that name, in
any block.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Mapping

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag

from nsn2n.dicom.attributes import PARSE_ERRORS

__all__ = ["CSA_HEADER", "KEPT", "creators_of", "private_numbers", "safe_private_tags"]

KEPT: Mapping[str, Mapping[tuple[int, int], str]] = {
    "Philips PET Private Group": {(0x7053, 0x00): "DS", (0x7053, 0x09): "DS"},
    "Philips Imaging DD 001": {(0x2001, 0x03): "FL", (0x2001, 0x04): "CS"},
    "Philips MR Imaging DD 001": {
        (0x2005, 0x0D): "FL",
        (0x2005, 0x0E): "FL",
        (0x2005, 0xB0): "FL",
        (0x2005, 0xB1): "FL",
        (0x2005, 0xB2): "FL",
    },
    "SIEMENS MR HEADER": {(0x0019, 0x0C): "IS", (0x0019, 0x0D): "CS", (0x0019, 0x0E): "FD", (0x0019, 0x27): "FD"},
    "GEMS_ACQU_01": {
        (0x0019, 0x23): "DS",
        (0x0019, 0x24): "DS",
        (0x0019, 0x27): "DS",
        (0x0019, 0xBB): "DS",
        (0x0019, 0xBC): "DS",
        (0x0019, 0xBD): "DS",
    },
    "GEMS_SERS_01": {(0x0025, 0x07): "SL"},
    "GEMS_PARM_01": {(0x0043, 0x39): "IS", (0x0043, 0x6F): "DS"},
    "GEMS_HELIOS_01": {(0x0045, 0x01): "SS", (0x0045, 0x02): "FL"},
    "ELSCINT1": {
        (0x00E1, 0x21): "DS",
        (0x01E1, 0x26): "CS",
        (0x01E1, 0x50): "DS",
        (0x01F1, 0x01): "CS",
        (0x01F1, 0x07): "DS",
        (0x01F1, 0x26): "DS",
        (0x01F1, 0x27): "DS",
    },
    "Image Private Header": {(0x0065, 0x09): "FD", (0x0065, 0x37): "FD"},
}
"""Creator, group and element in its block, value representation: numbers and terms of CT, MR and PET that PS3.15 lists
as safe (table E.3.10-1), and those of diffusion. They remain valid, since a derived image has the unit, the position
and the acquisition of its source."""

CSA_HEADER = ("SIEMENS CSA HEADER", 0x0029, 0x10)
"""Creator, group and element of Siemens' binary header of an image."""

WORDS = {"FD": "d", "FL": "f", "SL": "i", "SS": "h", "UL": "I", "US": "H"}
"""Binary value representations, as `struct` names them."""

TERM = re.compile(r"[A-Z0-9_ ]{0,16}")
"""A value of VR CS; anything else might contain a name."""


def creators_of(dataset: Dataset) -> dict[tuple[int, int], str]:
    """Return the creator of each private block of a dataset, by group and block."""
    found = {}
    for tag in dataset.keys():  # noqa: SIM118
        if tag & 0x10000 and 0x10 <= tag & 0xFFFF <= 0xFF:
            found[tag >> 16, tag & 0xFFFF] = _text(dataset.get_item(tag, keep_deferred=True))
    return found


def private_numbers(
    dataset: Dataset, creators: Mapping[tuple[int, int], str], creator: str, group: int, element: int
) -> tuple[float, ...]:
    """Return the numbers of an element of `KEPT`; none if it is absent or holds something else.

    Parameters
    ----------
    dataset : Dataset
    creators : mapping
        As returned by `creators_of`.
    creator, group, element
        The element, without its block.
    """
    for (of_group, block), owner in creators.items():
        tag = Tag(of_group, block << 8 | element)
        if owner == creator and of_group == group and tag in dataset:
            return _numbers(dataset.get_item(tag), KEPT[creator][(group, element)])
    return ()


def safe_private_tags(dataset: Dataset) -> dict[BaseTag, str]:
    """Return the private tags of a dataset, at this level only, that may be kept, and their creators, with their VR.

    An element is kept only if it holds numbers or a term, as it should: a text is not known to be safe.
    """
    kept: dict[BaseTag, str] = {}
    for (group, block), owner in creators_of(dataset).items():
        for (of_group, element), vr in KEPT.get(owner, {}).items():
            tag = Tag(group, block << 8 | element)
            if of_group == group and tag in dataset and _is_plain(dataset.get_item(tag), vr):
                kept |= {tag: vr, Tag(group, block): "LO"}
    return kept


def _is_plain(element: DataElement | RawDataElement, vr: str) -> bool:
    if vr == "CS":
        return all(TERM.fullmatch(value.strip(" \0")) for value in _text(element).split("\\"))
    return bool(_numbers(element, vr))


def _numbers(element: DataElement | RawDataElement, vr: str) -> tuple[float, ...]:
    """Return the values of an element; `vr` is used if the file does not contain it."""
    value = element.value
    found = str(element.VR or "UN")
    try:
        if not isinstance(value, bytes):
            entries = tuple(value) if isinstance(value, (MultiValue, list, tuple)) else (value,)
        elif (vr if found in ("UN", "OB") else found) in WORDS:
            word = WORDS[vr if found in ("UN", "OB") else found]
            little = not isinstance(element, RawDataElement) or element.is_little_endian
            count = len(value) // struct.calcsize(f"={word}")
            entries = struct.unpack(f"{'<' if little else '>'}{count}{word}", value)
        else:
            entries = tuple(value.decode("ascii").strip(" \0").split("\\"))
        numbers = tuple(float(entry) for entry in entries)
    except PARSE_ERRORS:
        return ()
    return numbers if all(map(math.isfinite, numbers)) else ()


def _text(element: DataElement | RawDataElement) -> str:
    value = element.value
    if isinstance(value, (MultiValue, list, tuple)):
        return "\\".join(map(str, value))
    found = value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")
    return found.strip(" \0")
