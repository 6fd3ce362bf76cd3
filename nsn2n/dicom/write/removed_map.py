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
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from nsn2n._aliases import Float32Array
from nsn2n.dicom.attributes import text
from nsn2n.dicom.image_kinds import OWN_MANUFACTURER, OWN_MODEL_NAME
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.map_images import images_of_map
from nsn2n.modality import policy_of

__all__ = ["own_series", "removed_map", "unit_of"]


def removed_map(sources: Sequence[Path], derived: Sequence[Path], series: DerivedSeries, version: str) -> Dataset:
    """Create the map of source minus derived, in the unit of the modality, as both are stored.

    Parameters
    ----------
    sources, derived : sequence of Path
        The file of each slice of the source, and those of the new series.
    series : DerivedSeries
        UID and number of the series of the map.
    version : str
        SoftwareVersions.

    Raises
    ------
    DicomError
        If no map can be created for the source.
    """
    source, new = images_of_map(sources), images_of_map(derived)
    first = source.slices[0].header
    removed: Float32Array = np.empty((len(source.slices), first.Rows, first.Columns), np.float32)
    for removed_hw, before, after in zip(removed, source.values(), new.values(), strict=True):
        np.subtract(before, after, out=removed_hw)
    largest = float(np.abs(removed).max()) or 1.0
    unit = unit_of(first)
    mapping = RealWorldValueMapping(
        lut_label="removed",
        lut_explanation="Source minus denoised",
        unit=unit,
        value_range=(-largest, largest),
        slope=1.0,
        intercept=0.0,
    )
    made: Dataset = ParametricMap(
        source_images=source.headers,
        further_source_images=new.headers,
        pixel_array=removed,
        **own_series(series, version),
        contains_recognizable_visual_features=text(first, "RecognizableVisualFeatures") != "NO",
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.0, window_width=2 * largest)],
        content_label="REMOVED",
        content_description="Noise that denoising removed: source minus denoised",
        series_description=f"{text(new.headers[0], 'SeriesDescription')}: removed"[:64],
    )
    # Type 2C: the validator requires it, since no body part shows that it is unpaired (PS3.3 C.7.3.1).
    made.Laterality = text(first, "Laterality")
    return made


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
