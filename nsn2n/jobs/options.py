# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a user decides about the new series: names, numbers, encoding, and what comes beside them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from nsn2n._version import __version__
from nsn2n.dicom.write.derive import Derivation
from nsn2n.dicom.write.series_writer import WriteOptions

__all__ = ["OutputOptions"]


@dataclass(frozen=True, kw_only=True)
class OutputOptions:
    """The same for all series of a run."""

    series_description_suffix: str = Derivation.series_description_suffix
    """Appended to the SeriesDescription of the source."""
    series_number_offset: int = Derivation.series_number_offset
    """Added to the SeriesNumber of the source."""
    research_mark: bool = Derivation.research_mark
    """Mark the new series as for research only."""
    compression: str = WriteOptions.compression
    """How pixels are stored: none, rle, jpeg-ls or jpeg-2000; all without loss."""

    force: bool = False
    """Write a series too of which the structure check (`nsn2n.structure_check`) says that anatomy was removed."""
    report: bool = True
    """Write a quality report (`nsn2n.report`) for each new series, in the folder ``reports``."""
    parametric_map: bool = False
    """Write the removed noise as a DICOM Parametric Map."""
    structured_report: bool = False
    """Write the measurements as a DICOM Structured Report."""

    def __post_init__(self) -> None:
        """Let those check the values that use them later."""
        self.derivation("-")
        self.write_options()

    def derivation(self, description: str) -> Derivation:
        """Say what was done to a series.

        Raises
        ------
        SettingsError
            If a text or number is beyond the limits of its attribute.
        """
        return Derivation(
            description=description,
            software_version=__version__,
            series_description_suffix=self.series_description_suffix,
            series_number_offset=self.series_number_offset,
            research_mark=self.research_mark,
        )

    def write_options(self, taken_series_numbers: Collection[int] = ()) -> WriteOptions:
        """Say how a series is written."""
        return WriteOptions(taken_series_numbers=frozenset(taken_series_numbers), compression=self.compression)
