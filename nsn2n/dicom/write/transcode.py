# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Copies a dataset to explicit VR little endian with the bytes of its texts untouched.

Decoding a text and encoding it again destroys names whose character set is declared incorrectly, so elements are
moved as raw bytes wherever their bytes are the same in the new encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from pydicom.charset import convert_encodings, default_encoding
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filewriter import correct_ambiguous_vr_element
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

__all__ = ["raw_element", "to_explicit_little_endian"]

BYTE_ORDER_FREE_VRS = frozenset(
    "AE AS CS DA DS DT IS LO LT OB PN SH ST TM UC UI UN UR UT".split()  # noqa: SIM905
)
"""Value representations whose bytes do not depend on byte order."""

WORD_BYTES = {"OW": 2, "OL": 4, "OF": 4, "OD": 8, "OV": 8}
"""Bytes per word of values that pydicom keeps as bytes, in the byte order of the file."""


def raw_element(tag: BaseTag, vr: str, value: bytes) -> RawDataElement:
    """Create an element whose bytes are written unchanged."""
    return RawDataElement(tag, vr, len(value), value, 0, False, True)


Keep = Callable[[Dataset], Mapping[BaseTag, str]]


def _none(dataset: Dataset) -> Mapping[BaseTag, str]:
    return {}


def to_explicit_little_endian(
    source: Dataset,
    drop: Callable[[BaseTag], bool],
    keep: Keep = _none,
    parent_encoding: str | list[str] = default_encoding,
) -> Dataset:
    """Copy a dataset that was read from a file, and the items of its sequences.

    Parameters
    ----------
    source : Dataset
        In any transfer syntax; values may have been accessed before. Compressed pixels stay compressed.
    drop : callable
        Decides for each tag, at all levels, whether to leave it out.
    keep : callable
        Returns, for the dataset of each level, tags that are kept although they would be dropped, and the value
        representation of each, which implicit VR does not contain.
    parent_encoding
        Python codecs of the dataset around this one.

    Returns
    -------
    Dataset
        Marked as explicit VR little endian, so that pydicom writes raw elements unchanged.
    """
    encoding = parent_encoding
    if source.get("SpecificCharacterSet"):
        encoding = convert_encodings(source.SpecificCharacterSet)
    target = Dataset(parent_encoding=parent_encoding)
    kept = keep(source)
    for tag in sorted(source.keys()):
        if tag in kept or not drop(tag):
            target[tag] = _converted(source, tag, drop, keep, kept.get(tag), encoding)
    target.set_original_encoding(False, True, encoding)
    return target


def _converted(
    source: Dataset,
    tag: BaseTag,
    drop: Callable[[BaseTag], bool],
    keep: Keep,
    known_vr: str | None,
    encoding: str | list[str],
) -> DataElement | RawDataElement:
    little_endian = source.original_encoding[1]
    element: DataElement | RawDataElement = source.get_item(tag)
    if isinstance(element, RawDataElement):
        vr = element.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
        if vr == "UN" and known_vr and little_endian:
            vr = known_vr
        if vr in BYTE_ORDER_FREE_VRS or (little_endian and vr != "SQ" and len(vr) == 2):
            return raw_element(tag, vr, element.value or b"")
        element = source[tag]
    if element.VR == "SQ":
        items = [to_explicit_little_endian(item, drop, keep, encoding) for item in element.value]
        return DataElement(tag, "SQ", Sequence(items))
    vr = str(element.VR)
    if len(vr) != 2:  # such as "US or SS": the dataset determines which
        element = correct_ambiguous_vr_element(element, source, bool(little_endian))
        vr = str(element.VR)
    if not little_endian and vr in WORD_BYTES and element.value:
        words = np.frombuffer(element.value, dtype=f">u{WORD_BYTES[vr]}")
        return DataElement(tag, vr, words.astype(words.dtype.newbyteorder("<")).tobytes())
    return DataElement(tag, vr, element.value)
