# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The metadata of an SDK ``Image`` that the operators share: names of keys, and values read with care."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast, get_args

__all__ = [
    "PADDING_MASK",
    "PARTS",
    "PART_SHEARS",
    "PART_SPACINGS",
    "RECORD",
    "REPORT",
    "SERIES_NUMBERS",
    "SOURCE_FILES",
    "known_modality",
    "part_spacings_mm",
    "series_label",
    "spacing_mm",
]

SOURCE_FILES = "source_files"
"""List of str: the DICOM file of each slice, in slice order."""

PADDING_MASK = "padding_mask_dhw"
"""bool array of the shape of the image, True where a pixel is padding; absent if none is."""

PARTS = "parts"
"""List of int: slices of each part, where the image is not one stack of neighboring slices; absent if it is."""

PART_SPACINGS = "part_spacings_mm"
"""List of [dz, dy, dx] in mm, one for each part; there where ``parts`` is."""

PART_SHEARS = "part_shears_px"
"""List of [rows, columns] in pixels, one for each part: how far each slice lies displaced against the one before;
absent if none does."""

SERIES_NUMBERS = "series_numbers_in_study"
"""Sorted list of int: series numbers of the study that are in use, which a new series must not get."""

RECORD = "nsn2n"
"""dict of plain values: settings, seed and measurements of the denoising; ``summary`` is one line of text."""

REPORT = "nsn2n_report"
"""`nsn2n.report.ReportData`: what a quality report shows; absent unless it was asked for."""

Modality = Literal["CT", "MR", "PT"]


def spacing_mm(metadata: Mapping[str, Any]) -> tuple[float, float, float] | None:
    """Distances (dz, dy, dx) between slices, rows and columns in mm; None unless all are positive numbers.

    The SDK's names mislead: ``row_pixel_spacing`` is the first value of PixelSpacing, from row to row.
    """
    found = [metadata.get(f"{axis}_pixel_spacing") for axis in ("depth", "row", "col")]
    if any(value is None for value in found):
        return None
    depth, row, column = (float(value) for value in found)  # type: ignore[arg-type]
    valid = all(math.isfinite(value) and value > 0 for value in (depth, row, column))
    return (depth, row, column) if valid else None


def part_spacings_mm(metadata: Mapping[str, Any]) -> list[tuple[float, float, float]] | None:
    """Distances (dz, dy, dx) in mm of each part of an image in parts; None if it does not name them."""
    found = metadata.get(PART_SPACINGS)
    return None if found is None else [(float(dz), float(dy), float(dx)) for dz, dy, dx in found]


def known_modality(metadata: Mapping[str, Any]) -> Modality | None:
    """CT, MR or PT; None if the image is of another kind or does not say."""
    modality = str(metadata.get("Modality") or "").strip().upper()
    return cast(Modality, modality) if modality in get_args(Modality) else None


def series_label(metadata: Mapping[str, Any]) -> str:
    """How messages name the series of an image; nothing of the patient is in it."""
    number = metadata.get("SeriesNumber")
    return (
        f"{metadata.get('Modality') or '?'} series {'without number' if number is None else number} "
        f'"{metadata.get("SeriesDescription") or ""}" ({metadata.get("SeriesInstanceUID") or "no UID"})'
    )
