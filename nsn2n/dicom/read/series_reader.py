# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads one CT, MR or PET series, single-frame or enhanced, as a float32 volume with its geometry.

Two passes: the headers of all slices, which are checked and put in order; then the pixels, into one array.
Nothing about the volume is inferred from its first slice.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from nsn2n.dicom.attributes import refusal, text
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.pixels.stored_pixels import read_stored
from nsn2n.dicom.read.geometry import SeriesGeometry
from nsn2n.dicom.read.magnitudes import Negatives, check_magnitudes, negatives_of
from nsn2n.dicom.read.slice_sorting import plan_series
from nsn2n.dicom.slice_facts import SliceFacts
from nsn2n.modality import Modality
from nsn2n.runtime.volumes import new_volume
from nsn2n.stack.slice_stack import SliceStack

__all__ = ["SeriesVolume", "read_series"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class SeriesVolume:
    """A series in memory: its slices in geometric order, part by part."""

    stack: SliceStack
    """Values in units of the modality (HU in CT, Units in PET); padded pixels keep theirs, and are not in its mask."""
    geometry: SeriesGeometry
    files: tuple[Path, ...] = field(repr=False)
    """Source file of each slice; an enhanced image is repeated for each of its frames."""
    headers: tuple[Dataset, ...] = field(repr=False)
    """All attributes except the pixels of each slice; for a frame those of its image and of the frame, flattened."""
    warnings: tuple[str, ...] = ()
    """Warnings about the series, one line each."""

    @property
    def StudyInstanceUID(self) -> str:  # noqa: N802 - the DICOM keyword
        """Of the source."""
        return text(self.headers[0], "StudyInstanceUID")

    @property
    def SeriesInstanceUID(self) -> str:  # noqa: N802 - the DICOM keyword
        """Of the source."""
        return text(self.headers[0], "SeriesInstanceUID")


def read_series(
    files: Sequence[Path], *, allow_own_output: bool = False, refuse_gaps: bool = False, limits: Limits | None = None
) -> SeriesVolume:
    """Read the files of one series.

    Parameters
    ----------
    files : sequence of Path
        All files of the series, in any order. Of identical copies of a file one is used.
    allow_own_output : bool
        Accept a series that this program wrote, which is already denoised.
    refuse_gaps : bool
        Refuse a series with missing or unevenly spaced slices, instead of denoising its even runs separately.
    limits : Limits, optional
        What is refused before it takes time or memory.

    Raises
    ------
    DicomError
        If a file, the series or its grid breaks a rule (see `nsn2n.dicom.slice_facts`,
        `nsn2n.dicom.pixels.pixel_format`, `nsn2n.dicom.read.geometry` and `nsn2n.dicom.read.magnitudes`), or memory
        does not suffice.
    """
    plan = plan_series(files, allow_own_output=allow_own_output, refuse_gaps=refuse_gaps, limits=limits)
    plan.check_memory()
    slices, geometry = plan.slices, plan.geometry
    plan.log()
    values_dhw = new_volume(geometry.shape_dhw, np.float32)
    mask_dhw = new_volume(geometry.shape_dhw, bool)
    negatives: dict[int, Negatives] = {}
    for index, stored_hw in read_stored(slices):
        pixels = slices[index].pixels
        values_dhw[index] = pixels.to_values(stored_hw)
        mask_dhw[index] = ~pixels.is_padding(stored_hw)
        negatives[index] = negatives_of(values_dhw[index], mask_dhw[index], pixels)
    check_magnitudes(slices, geometry.slice_counts, [negatives[index] for index in range(len(slices))])
    padded = mask_dhw.size - int(np.count_nonzero(mask_dhw))
    logger.info(
        "read series %s: %s voxels in %d parts, %d padded",
        text(slices[0].header, "SeriesInstanceUID"),
        " x ".join(map(str, geometry.shape_dhw)),
        len(geometry.parts),
        padded,
    )
    return SeriesVolume(
        stack=SliceStack(
            values=values_dhw,
            mask=mask_dhw if padded else None,
            parts=geometry.slice_counts,
            spacings_mm=geometry.spacings_mm,
            shears_px=geometry.shears_px,
            modality=_modality(slices[0]),
        ),
        geometry=geometry,
        files=tuple(facts.path for facts in slices),
        headers=tuple(facts.header for facts in slices),
        warnings=plan.warnings,
    )


def _modality(facts: SliceFacts) -> Modality:
    found = text(facts.header, "Modality")
    if found not in set(Modality):
        raise refusal(
            f"must be one of {', '.join(Modality)}; got {found or 'no value'}",
            "Export the series again from the scanner or the archive.",
            keyword="Modality",
            path=facts.label,
            header=facts.header,
        )
    return Modality(found)
