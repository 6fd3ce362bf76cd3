# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The description of a derived series; independent of pydicom."""

from __future__ import annotations

from dataclasses import dataclass

from nsn2n.errors import SettingsError

__all__ = ["LARGEST_SERIES_NUMBER", "LONG_STRING_CHARACTERS", "RESEARCH_MARK", "Derivation"]

LARGEST_SERIES_NUMBER = 2**31 - 1
"""VR IS holds a signed 32-bit number (PS3.5 6.2)."""

RESEARCH_MARK = "(research)"

LONG_STRING_CHARACTERS = 64
SHORT_TEXT_CHARACTERS = 1024


@dataclass(frozen=True, kw_only=True)
class Derivation:
    """What was done to the pixels, as recorded in the derived series."""

    description: str
    """DerivationDescription: program, method, parameters; ASCII, at most 1024 characters (VR ST)."""
    software_version: str
    """SoftwareVersions, for example ``0.1.0``."""
    series_description_suffix: str = "denoised"
    """Appended to the SeriesDescription of the source."""
    series_number_offset: int = 1000
    """Added to the SeriesNumber of the source."""
    research_mark: bool = False
    """ContentQualification RESEARCH, and `RESEARCH_MARK` at the end of the SeriesDescription, where people see it.
    The attribute belongs to enhanced images (PS3.3 C.8.13.1); elsewhere it is an addition, as PS3.2 allows."""

    @property
    def series_description_end(self) -> str:
        """The text appended to the SeriesDescription of the source."""
        return (
            f"{self.series_description_suffix} {RESEARCH_MARK}"
            if self.research_mark
            else self.series_description_suffix
        )

    def __post_init__(self) -> None:
        """Check the limits of the attributes."""
        limits = {
            "description": SHORT_TEXT_CHARACTERS,
            "software_version": LONG_STRING_CHARACTERS,
            "series_description_suffix": LONG_STRING_CHARACTERS - self.research_mark * (len(RESEARCH_MARK) + 1),
        }
        for name, longest in limits.items():
            value = getattr(self, name)
            if not (value.isascii() and value.isprintable() and value.strip() and len(value) <= longest):
                raise SettingsError(
                    f"{name} must be 1 to {longest} printable ASCII characters; got {len(value)}: "
                    f"{value[:60]!r}. "
                    "Shorten it or write it in ASCII."
                )
        if "\\" in self.software_version or "\\" in self.series_description_suffix:
            raise SettingsError("software_version and series_description_suffix must not hold a backslash.")
        if not 1 <= self.series_number_offset <= LARGEST_SERIES_NUMBER // 2:
            raise SettingsError(
                f"series_number_offset must be in 1..{LARGEST_SERIES_NUMBER // 2}; got {self.series_number_offset}."
            )
