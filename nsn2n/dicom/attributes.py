# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Robust access to attribute values, and the one-line refusals that name file, tag and series."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.multival import MultiValue
from pydicom.tag import Tag

from nsn2n.errors import DicomError

__all__ = [
    "PARSE_ERRORS",
    "has_burned_in_text",
    "integer",
    "numbers",
    "one_line",
    "raw_value",
    "refusal",
    "series_number",
    "tag_text",
    "text",
    "values",
]

PARSE_ERRORS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BytesLengthException,
    EOFError,
    IndexError,
    KeyError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
    struct.error,
    zlib.error,
)
"""Exceptions that pydicom raises on damaged bytes, while it reads a file or converts a value."""


def tag_text(keyword: str) -> str:
    """``PixelSpacing (0028,0030)``: keyword and tag of an attribute, as other tools list it."""
    number = tag_for_keyword(keyword)
    if number is None:
        return keyword
    tag = Tag(number)
    return f"{keyword} ({tag.group:04X},{tag.element:04X})"


def refusal(
    rule: str,
    next_step: str,
    *,
    keyword: str | None = None,
    path: Path | None = None,
    header: Dataset | None = None,
    series_uid: str | None = None,
) -> DicomError:
    """Build the error for a file or series that breaks a rule.

    Parameters
    ----------
    rule : str
        What must hold and what was found, without a final period, for example ``must be positive; got 0``.
    next_step : str
        What the user can do, a sentence.
    keyword : str, optional
        The attribute that `rule` refers to.
    path, header, series_uid : optional
        Where it was found; the series UID is taken from `header` unless given.
    """
    uid = series_uid or (text(header, "SeriesInstanceUID") if header is not None else None)
    places = [str(path)] if path else []
    places += [f"series {uid}"] if uid else []
    where = f" [{', '.join(places)}]" if places else ""
    what = f"{tag_text(keyword)} {rule}" if keyword else rule
    return DicomError(one_line(f"{what}{where}. {next_step}"))


def one_line(message: str) -> str:
    """Return a message without line breaks and terminal control characters: values may come from any file."""
    if message.isprintable():
        return message
    return " ".join("".join(char if char.isprintable() else " " for char in message).split())


def values(header: Dataset, keyword: str) -> tuple[Any, ...]:
    """Return all values of an attribute; empty if it is absent, empty or cannot be converted."""
    try:
        value = header.get(keyword)
    except (OSError, *PARSE_ERRORS):  # pydicom reads sequences on access, and may find no tag there
        return ()
    if value is None or value == "":
        return ()
    return tuple(value) if isinstance(value, (MultiValue, list, tuple)) else (value,)


def text(header: Dataset, keyword: str) -> str:
    r"""The attribute as text, several values joined by ``\``; "" if absent or empty."""
    return "\\".join(str(value) for value in values(header, keyword))


def has_burned_in_text(header: Dataset) -> bool:
    """Whether a header states that its pixels show text that may identify the patient."""
    return text(header, "BurnedInAnnotation").strip().upper() == "YES"


def series_number(header: Dataset) -> int | None:
    """SeriesNumber, or None if it is absent, empty or not a number."""
    try:
        return int(values(header, "SeriesNumber")[0])
    except (IndexError, ValueError):
        return None


def raw_value(header: Dataset, keyword: str) -> bytes:
    """Return the bytes of a text attribute without padding, not decoded: pydicom logs bad values in its warnings."""
    try:
        element = header.get_item(keyword) if keyword in header else None
    except (OSError, *PARSE_ERRORS):  # pydicom converts empty values, even of unknown VR
        element = None
    value = b"" if element is None or element.value is None else element.value
    return (value if isinstance(value, bytes) else str(value).encode()).strip(b" \0")


def numbers(header: Dataset, keyword: str, count: int, path: Path) -> tuple[float, ...]:
    """Return exactly `count` finite numbers.

    Raises
    ------
    DicomError
        If the attribute is absent, or has another number of values, or one that is not a finite number.
    """
    found = values(header, keyword)
    try:
        converted = tuple(float(value) for value in found)
    except (TypeError, ValueError):
        converted = ()
    if len(converted) != count or not all(math.isfinite(value) for value in converted):
        got = text(header, keyword) if found else ("no value" if keyword in header else "no such attribute")
        raise refusal(
            f"must hold {count} finite number{'s' if count > 1 else ''}; got {got}",
            "Export the series again from the scanner or the archive.",
            keyword=keyword,
            path=path,
            header=header,
        )
    return converted


def integer(header: Dataset, keyword: str, path: Path) -> int:
    """Return exactly one integer.

    Raises
    ------
    DicomError
        If the attribute is absent or something else.
    """
    (value,) = numbers(header, keyword, 1, path)
    if value != int(value):
        raise refusal(
            f"must be a whole number; got {value}",
            "Export the series again from the scanner or the archive.",
            keyword=keyword,
            path=path,
            header=header,
        )
    return int(value)
