# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The removed noise as a Parametric Map (PS3.3 A.75), so that a PACS shows what was removed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from nsn2n.dicom.attributes import refusal, text
from nsn2n.dicom.headers import read_header
from nsn2n.dicom.image_kinds import OWN_MANUFACTURER, OWN_MODEL_NAME
from nsn2n.dicom.pixels.pixel_format import pixel_format, stored_values
from nsn2n.dicom.pixels.stored_pixels import read_image
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.modality import policy_of

__all__ = ["check_source_of_map", "own_series", "removed_map", "unit_of"]


def removed_map(sources: Sequence[Path], derived: Sequence[Path], series: DerivedSeries, version: str) -> Dataset:
    """Create the map of source minus derived, in the unit of the modality, as both are stored.

    Parameters
    ----------
    sources, derived : sequence of Path
        The files of the source and of the new series, in slice order.
    series : DerivedSeries
        UID and number of the series of the map.
    version : str
        SoftwareVersions.

    Raises
    ------
    DicomError
        If no map can be created for the source.
    """
    source_headers = [read_header(file) for file in sources]
    check_source_of_map(source_headers[0], sources[0])
    derived_headers = [read_header(file) for file in derived]
    removed = np.empty((len(sources), source_headers[0].Rows, source_headers[0].Columns), np.float32)
    for index, pair in enumerate(zip(sources, derived, strict=True)):
        before, after = (_values(file) for file in pair)
        np.subtract(before, after, out=removed[index])
    largest = float(np.abs(removed).max()) or 1.0
    unit = unit_of(source_headers[0])
    mapping = RealWorldValueMapping(
        lut_label="removed",
        lut_explanation="Source minus denoised",
        unit=unit,
        value_range=(-largest, largest),
        slope=1.0,
        intercept=0.0,
    )
    made: Dataset = ParametricMap(
        source_images=source_headers,
        further_source_images=derived_headers,
        pixel_array=removed,
        **own_series(series, version),
        contains_recognizable_visual_features=text(source_headers[0], "RecognizableVisualFeatures") != "NO",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.0, window_width=2 * largest)],
        content_label="REMOVED",
        content_description="Noise that denoising removed: source minus denoised",
        series_description=f"{text(derived_headers[0], 'SeriesDescription')}: removed"[:64],
    )
    # Type 2C: the validator requires it, since no body part shows that it is unpaired (PS3.3 C.7.3.1).
    made.Laterality = text(source_headers[0], "Laterality")
    return made


def check_source_of_map(header: Dataset, path: Path) -> None:
    """Refuse a source for which no map can be created.

    Raises
    ------
    DicomError
        If it is a multi-frame image, or has no frame of reference: a new one would imply that the two are unrelated in
        space.
    """
    if int(header.get("NumberOfFrames") or 1) > 1:
        raise refusal(
            f"must be absent or 1 in the source of a parametric map; got {header.NumberOfFrames}",
            "Leave the map out.",
            keyword="NumberOfFrames",
            path=path,
            header=header,
        )
    if not text(header, "FrameOfReferenceUID"):
        raise refusal(
            "must have a value in the source of a parametric map; got none",
            "Leave the map out.",
            keyword="FrameOfReferenceUID",
            path=path,
            header=header,
        )


def own_series(series: DerivedSeries, version: str) -> dict[str, Any]:
    """Return the highdicom arguments for the single instance of a series, and for the program that created it."""
    return {
        "series_instance_uid": series.SeriesInstanceUID,
        "series_number": series.SeriesNumber,
        "sop_instance_uid": generate_uid(prefix=None),
        "instance_number": 1,
        "manufacturer": OWN_MANUFACTURER,
        "manufacturer_model_name": OWN_MODEL_NAME,
        "software_versions": version,
        "device_serial_number": "none",
    }


def unit_of(header: Dataset) -> Code:
    """Unit of the values of a series."""
    unit = policy_of(text(header, "Modality")).ucum_unit
    if unit is not None:
        code, meaning = unit
        return Code(code, "UCUM", meaning)
    known: Code = codes.UCUM.BecquerelsPerMilliliter if text(header, "Units") == "BQML" else codes.UCUM.NoUnits
    return known


def _values(file: Path) -> NDArray[np.float32]:
    dataset = read_image(file)
    pixels = pixel_format(dataset, file)
    return pixels.to_values(stored_values(dataset, pixels, file))
