# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Several volumes in one series: time points, echoes, b-values, phases; and the assignment of slices to them.

A volume has one slice at each position, so each position must hold as many slices as there are volumes. Volumes are
distinguished by attributes that are constant within a volume, else by a time or number that orders the slices of each
position.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nsn2n.dicom.attributes import refusal, tag_text, text, values
from nsn2n.dicom.diffusion import diffusion_key
from nsn2n.dicom.read.even_spacing import STEP_TOLERANCE_MM
from nsn2n.dicom.read.geometry import SAME_POSITION_MM
from nsn2n.dicom.slice_facts import SliceFacts

__all__ = ["VolumeSplit", "split_volumes"]

CONSTANT_KEYWORDS = (
    "EchoTime",
    "EffectiveEchoTime",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "InversionTime",
    "FlipAngle",
    "NominalPercentageOfCardiacPhase",
    "KVP",
    "ConvolutionKernel",
    "ImageType",
    "FrameType",
    "StackID",
)
"""Attributes of different images of the same slice: slices that differ in one are never in the same volume."""

DIFFUSION_KEYWORDS = ("DiffusionBValue", "DiffusionGradientOrientation")
"""For these, the private attributes of a vendor are used if the standard ones are absent."""

RANKED_KEYWORDS = (
    "TriggerTime",
    "AcquisitionDateTime",
    "AcquisitionTime",
    "FrameAcquisitionDateTime",
    "AcquisitionNumber",
    "InstanceNumber",
)
"""Times and numbers that may differ within a volume, but put the slices of one position in order."""

NAMED_VALUES = 4

Key = tuple[str, ...]


@dataclass(frozen=True)
class VolumeSplit:
    """The volumes of a series."""

    volumes: tuple[tuple[SliceFacts, ...], ...]
    """Volumes in order; the slices of each sorted by position."""
    ordered_by: str
    """The attributes that distinguish the volumes, for the log."""


def split_volumes(slices: Sequence[SliceFacts]) -> VolumeSplit:
    """Split the slices of a series, several at each position, into its volumes.

    Raises
    ------
    DicomError
        If the positions do not hold equally many slices, or nothing distinguishes the volumes.
    """
    positions = _by_position(slices)
    count = len(positions[0])
    for group in positions:
        if len(group) != count:
            few, many = sorted((len(group), count))
            raise _refused(
                f"must be that of equally many slices at each position, one of each volume; {len(slices)} slices at "
                f"{len(positions)} positions, {few} at one and {many} at another",
                "Copy the missing files too, or remove those that are not part of the volumes from the folder.",
                group[0],
            )
    return _by_constants(positions) or _by_rank(positions)


def _by_position(slices: Sequence[SliceFacts]) -> list[list[SliceFacts]]:
    """Return groups of slices at the same position, sorted along the normal."""
    cosines = np.mean([facts.orientation for facts in slices], axis=0)
    normal = np.cross(cosines[:3], cosines[3:])
    along = np.array([facts.position_mm for facts in slices]) @ normal
    groups: list[list[SliceFacts]] = []
    last_mm = -np.inf
    for index in np.argsort(along, kind="stable"):
        if along[index] - last_mm >= SAME_POSITION_MM:
            groups.append([])
        groups[-1].append(slices[index])
        last_mm = along[index]
    for group in groups:
        aside_mm = np.linalg.norm(np.ptp([facts.position_mm for facts in group], axis=0))
        if aside_mm > STEP_TOLERANCE_MM:
            raise _refused(
                f"must be the same for slices of one height; they are up to {aside_mm:.4g} mm apart in their plane",
                "Split the series into single volumes first.",
                group[-1],
            )
    return groups


def _by_constants(positions: Sequence[Sequence[SliceFacts]]) -> VolumeSplit | None:
    """Return volumes by the attributes that are constant in each, if each position has each combination once."""
    keys = sorted({_constants(facts) for facts in positions[0]}, key=_sortable)
    if len(keys) != len(positions[0]):
        return None
    volumes: list[dict[Key, SliceFacts]] = []
    for group in positions:
        found = {_constants(facts): facts for facts in group}
        if set(found) != set(keys):
            return None
        volumes.append(found)
    varying = [
        keyword
        for keyword, texts in zip(CONSTANT_KEYWORDS, zip(*keys, strict=True), strict=True)
        if len(set(texts)) > 1
    ]
    first = CONSTANT_KEYWORDS.index(varying[0])
    shown = ", ".join(key[first] or "none" for key in keys[:NAMED_VALUES])
    return VolumeSplit(
        tuple(tuple(found[key] for found in volumes) for key in keys),
        f"{' and '.join(map(tag_text, varying))}: {shown}{', ...' if len(keys) > NAMED_VALUES else ''}",
    )


def _by_rank(positions: Sequence[Sequence[SliceFacts]]) -> VolumeSplit:
    """Return volumes by the order of a time or number at each position."""
    mixed = ""
    for keyword in RANKED_KEYWORDS:
        ranked = [_ranked(group, keyword) for group in positions]
        if any(group is None for group in ranked):
            continue
        volumes = tuple(zip(*(group for group in ranked if group is not None), strict=True))
        mixed = next((name for volume in volumes for name in [_varying(volume)] if name), "")
        if not mixed:
            return VolumeSplit(volumes, f"the order of {tag_text(keyword)} at each position")
    found = f"by their order {tag_text(mixed)} would differ within a volume" if mixed else "no attribute does"
    raise _refused(
        f"is that of {len(positions[0])} slices at each of {len(positions)} positions; some attribute must distinguish "
        f"the volumes, {found}",
        "Split the series into single volumes first.",
        positions[0][1],
    )


def _constants(facts: SliceFacts) -> Key:
    diffusion = dict(zip(DIFFUSION_KEYWORDS, diffusion_key(facts.header), strict=True))
    return tuple(
        diffusion[keyword] if keyword in diffusion else text(facts.header, keyword) for keyword in CONSTANT_KEYWORDS
    )


def _sortable(key: Key) -> tuple[tuple[bool, float, str], ...]:
    """Sort numbers by value, before texts."""
    return tuple(_number_or_text(entry) for entry in key)


def _number_or_text(entry: str) -> tuple[bool, float, str]:
    try:
        return (False, float(entry), "")
    except ValueError:
        return (True, 0.0, entry)


def _ranked(group: Sequence[SliceFacts], keyword: str) -> list[SliceFacts] | None:
    """Return the slices of a position in the order of an attribute; None unless it has a different value in each."""

    def order(facts: SliceFacts) -> Any:
        value = _number_or_text(text(facts.header, keyword))
        # Times restart at midnight.
        return (text(facts.header, "AcquisitionDate"), value) if keyword == "AcquisitionTime" else value

    distinct = {order(facts) for facts in group if values(facts.header, keyword)}
    return sorted(group, key=order) if len(distinct) == len(group) else None


def _varying(volume: Sequence[SliceFacts]) -> str:
    """Name of an attribute that must be constant in a volume, but is not."""
    for keyword, texts in zip(CONSTANT_KEYWORDS, zip(*map(_constants, volume), strict=True), strict=True):
        if len(set(texts)) > 1:
            return keyword
    return ""


def _refused(rule: str, next_step: str, facts: SliceFacts) -> Exception:
    return refusal(rule, next_step, keyword="ImagePositionPatient", path=facts.label, header=facts.header)
