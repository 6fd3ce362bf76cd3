# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Contrast retention of faint lesions as a Parametric Map (PS3.3 A.75)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import CoordinateSystemNames, PlanePositionSequence, VOILUTTransformation
from highdicom.pm import ParametricMap, RealWorldValueMapping
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes

from nsn2n.dicom.attributes import text
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.map_images import images_of_map
from nsn2n.dicom.write.removed_map import own_series

__all__ = ["UNKNOWN", "kept_map"]

UNKNOWN = -1.0
"""Value of pixels with no disc nearby; Float Pixel Padding Value (PS3.3 C.7.6.24)."""


def kept_map(
    sources: Sequence[Path], derived: Sequence[Path], record: Mapping[str, Any], series: DerivedSeries, version: str
) -> Dataset:
    """Create the map of the contrast retention of a disc of 5 mm and 1 noise sd: a frame for each part of the series.

    Parameters
    ----------
    sources, derived : sequence of Path
        The file of each slice of the source, and those of the new series.
    record : mapping
        As `nsn2n.DenoiseResult.record`, with at least one map.
    series : DerivedSeries
        UID and number of the series of the map.
    version : str
        SoftwareVersions.

    Raises
    ------
    DicomError
        If no map can be created for the source.
    """
    maps = record["contrast_kept"]["maps"]
    source, new = images_of_map(sources), images_of_map(derived)
    shown = [of_part["slice"] for of_part in maps]
    first = source.slices[0].header
    made: Dataset = ParametricMap(
        source_images=source.headers if source.is_multiframe else [source.headers[index] for index in shown],
        further_source_images=new.headers if new.is_multiframe else [new.headers[index] for index in shown],
        pixel_array=np.stack([_pixels(of_part, (first.Rows, first.Columns)) for of_part in maps]),
        plane_positions=[
            PlanePositionSequence(CoordinateSystemNames.PATIENT, source.slices[index].position_mm) for index in shown
        ],
        **own_series(series, version),
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label="kept",
                lut_explanation="Contrast kept, 5 mm disc, 1 noise SD",
                unit=codes.UCUM.NoUnits,
                value_range=(UNKNOWN, 2.0),
                slope=1.0,
                intercept=0.0,
            )
        ],
        voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
        content_label="CONTRAST_KEPT",
        content_description="Contrast that a disc of 5 mm and 1 noise SD keeps",
        series_description=f"{text(new.headers[0], 'SeriesDescription')}: contrast kept"[:64],
    )
    made.FloatPixelPaddingValue = made.FloatPixelPaddingRangeLimit = UNKNOWN
    made.Laterality = text(first, "Laterality")  # as in removed_map
    return made


def _pixels(of_part: Mapping[str, Any], shape_hw: tuple[int, int]) -> NDArray[np.float32]:
    values = np.array(of_part["kept"], dtype=np.float32)  # None becomes NaN
    blocks = np.nan_to_num(np.clip(values, 0, 2), nan=UNKNOWN)
    edge = of_part["block_px"]
    return blocks.repeat(edge, axis=0).repeat(edge, axis=1)[: shape_hw[0], : shape_hw[1]]
