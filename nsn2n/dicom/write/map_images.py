# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The images that a Parametric Map refers to, in the form in which highdicom takes them."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.dataset import Dataset

from nsn2n._aliases import Float32Array
from nsn2n.dicom.attributes import refusal, text
from nsn2n.dicom.functional_groups import PER_FRAME, SHARED
from nsn2n.dicom.headers import read_header
from nsn2n.dicom.pixels.pixel_format import stored_values
from nsn2n.dicom.pixels.stored_pixels import frame_datasets, read_image
from nsn2n.dicom.read.slice_sorting import plan_series
from nsn2n.dicom.slice_facts import SliceFacts

__all__ = ["MapImages", "images_of_map"]

_GRID = ("PixelMeasuresSequence", "PlaneOrientationSequence")


@dataclass(frozen=True, eq=False)
class MapImages:
    """The images of a series, source or derived."""

    headers: list[Dataset]
    """Of each single-frame image, in slice order; or of the one multi-frame image."""
    slices: tuple[SliceFacts, ...]
    """In slice order."""

    @property
    def is_multiframe(self) -> bool:
        """Whether the slices are the frames of one image."""
        return self.slices[0].frame is not None

    def values(self) -> Iterator[Float32Array]:
        """Read the slices, each of shape (H, W), in the unit of the modality: in order of the frames, if there are."""
        if self.is_multiframe:
            frames = sorted(self.slices, key=lambda facts: facts.frame or 0)
            images: Iterable[tuple[Dataset, SliceFacts]] = zip(
                frame_datasets(frames[0].path, frames), frames, strict=True
            )
        else:
            images = ((read_image(facts.path), facts) for facts in self.slices)
        for image, facts in images:
            yield facts.pixels.to_values(stored_values(image, facts.pixels, facts.label))


def images_of_map(files: Sequence[Path]) -> MapImages:
    """Read the headers of a series for a map.

    Parameters
    ----------
    files : sequence of Path
        The file of each slice; that of a multi-frame image any number of times.

    Raises
    ------
    DicomError
        If the series has several volumes or several multi-frame images, of which a map can describe only one, or no
        frame of reference: a new one would imply that the map and the series are unrelated in space.
    """
    files = list(dict.fromkeys(files))
    slices = plan_series(files, allow_own_output=True).slices
    first = slices[0].header
    images = MapImages([facts.header for facts in slices], slices)
    if not text(first, "FrameOfReferenceUID"):
        raise refusal(
            "must have a value in the source of a parametric map; got none",
            "Leave the map out.",
            keyword="FrameOfReferenceUID",
            path=files[0],
            header=first,
        )
    positions = len({facts.position_mm for facts in slices})
    if positions < len(slices):
        raise refusal(
            f"the source of a parametric map must be one volume; got {len(slices)} slices at {positions} positions",
            "Leave the map out.",
            header=first,
        )
    if not images.is_multiframe:
        return images
    if len(files) > 1:
        raise refusal(
            "the source of a parametric map must be one multi-frame image, or single-frame images; got"
            f" {len(files)} multi-frame images",
            "Leave the map out.",
            header=first,
        )
    return MapImages([_with_shared_grid(read_header(files[0]))], slices)


def _with_shared_grid(header: Dataset) -> Dataset:
    """Return a header whose frames share what is equal in all of them: highdicom looks for it there alone."""
    shared = copy.copy(next(iter(header.get(SHARED) or []), Dataset()))
    for keyword in _GRID:
        if keyword not in shared:
            shared[keyword] = header[PER_FRAME].value[0][keyword]
    changed = copy.copy(header)
    setattr(changed, SHARED, [shared])
    return changed
