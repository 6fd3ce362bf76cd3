# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What the headers of a series contain: its slices in order, the grids they form, and warnings for the user."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nsn2n.dicom.attributes import PARSE_ERRORS, has_burned_in_text, refusal, tag_text, text, values
from nsn2n.dicom.headers import kept_bytes, read_header
from nsn2n.dicom.input_limits import Limits, check_claimed_pixels
from nsn2n.dicom.pixels.pixel_format import embedded_overlay_groups
from nsn2n.dicom.private_attributes import creators_of, private_numbers
from nsn2n.dicom.read.even_spacing import tolerance_mm
from nsn2n.dicom.read.geometry import Arrangement, SeriesGeometry, Verdict, arrange_slices
from nsn2n.dicom.read.multivolume import split_volumes
from nsn2n.dicom.slice_facts import SliceFacts, check_file, check_same_series
from nsn2n.errors import DicomError
from nsn2n.modality import policy_of
from nsn2n.runtime.memory import available_bytes, find_room

__all__ = ["SeriesPlan", "inspect_series", "plan_series"]

logger = logging.getLogger(__name__)

NEXT_STEPS = {
    Verdict.VARIABLE: "Choose a series with a run of evenly spaced slices.",
    Verdict.GAP: "Copy the missing slices too; gaps are never filled.",
    Verdict.SINGLE_SLICE: "Choose a series of at least 2 slices.",
}

KEYWORDS = {
    Verdict.MIXED_SPACING: "PixelSpacing",
    Verdict.MIXED_ORIENTATION: "ImageOrientationPatient",
    Verdict.BAD_ORIENTATION: "ImageOrientationPatient",
}
"""Attributes that a verdict refers to, if not ImagePositionPatient."""

COUNT_CREATOR, COUNT_GROUP = "Philips PET Private Group", 0x7053
COUNT_FACTORS = {0x00: "SUV", 0x09: "Bq/ml"}
"""Factors that are kept in the new series (`nsn2n.dicom.private_attributes`)."""

SAMPLE = 8
"""This many headers give a lower bound for the others."""

UNASKED_BYTES = 2**24
"""There is always memory for this; a check would take as long as reading a header."""

ENHANCED_BYTES_PER_VOXEL = 8
"""An enhanced image is read and written whole: the source, its new frames, the new image, and that read back."""

DIGEST_CHUNK = 2**20

NAMED_PLACES = 3
"""How many of the places where parts end are named; their number is always given."""


@dataclass(frozen=True, eq=False)
class SeriesPlan:
    """A series that can be read, from its headers."""

    slices: tuple[SliceFacts, ...]
    """In the order of the volume: part by part, each along its normal."""
    geometry: SeriesGeometry
    warnings: tuple[str, ...]
    """What a user should know before trusting the result, one line each, without name of the series."""
    remarks: tuple[str, ...]
    """Remarks for the log."""

    def log(self) -> None:
        """Write warnings and remarks into the log."""
        series = text(self.slices[0].header, "SeriesInstanceUID")
        for line in self.warnings:
            logger.warning("series %s: %s", series, line)
        for line in self.remarks:
            logger.info("series %s: %s", series, line)

    def check_memory(self) -> None:
        """Refuse a series that would not fit into memory; to be called before its pixels are read."""
        depth, height, width = self.geometry.shape_dhw
        voxels, in_frames = depth * height * width, any(facts.frame is not None for facts in self.slices)
        shortage = find_room(
            voxels,
            max(self.geometry.slice_counts) * height * width,
            of_slice=height * width,
            beside_files=ENHANCED_BYTES_PER_VOXEL * voxels if in_frames else 0,
        )
        if shortage is not None:
            raise refusal(
                f"a volume must fit into memory; {self.geometry.shape_dhw} voxels {shortage.found}",
                shortage.advice,
                header=self.slices[0].header,
            )


def inspect_series(
    files: Sequence[Path], *, allow_own_output: bool = False, refuse_gaps: bool = False
) -> SeriesGeometry:
    """Check everything about a series that can be checked from headers.

    Parameters and errors are those of `nsn2n.dicom.read.series_reader.read_series`; pixels are not read.
    """
    plan = plan_series(files, allow_own_output=allow_own_output, refuse_gaps=refuse_gaps)
    plan.check_memory()
    return plan.geometry


def plan_series(
    files: Sequence[Path], *, allow_own_output: bool = False, refuse_gaps: bool = False, limits: Limits | None = None
) -> SeriesPlan:
    """Check the headers of a series and put its slices in order.

    Parameters and errors are those of `nsn2n.dicom.read.series_reader.read_series`; pixels are not read, and memory
    is not checked: this is also used on written files, while their volume is in memory.
    """
    if not files:
        raise DicomError("a series must have files; got none. Name the files of one series.")
    limits = limits or Limits()
    checked = _checked_files(files, allow_own_output, limits)
    slices = [facts for of_file in _without_copies(checked) for facts in of_file]
    check_same_series(slices)
    check_claimed_pixels(slices, limits)
    stacks, found = _stacks(slices, refuse_gaps)
    slices = [facts for stack, _ in stacks for facts in stack]
    geometry = SeriesGeometry(tuple(part for _, stack in stacks for part in stack.parts))
    return SeriesPlan(
        slices=tuple(slices),
        geometry=geometry,
        warnings=(
            *found.warnings,
            *_frame_of_reference_warnings(slices[0]),
            *_overlay_warnings(slices),
            *_burned_in_warnings(slices),
            *_pet_warnings(slices),
        ),
        remarks=(*found.remarks, *_tilt_remarks(geometry), *_overlap_remarks(slices[0], geometry)),
    )


def _checked_files(files: Sequence[Path], allow_own_output: bool, limits: Limits) -> list[list[SliceFacts]]:
    """Check each file, while there is memory for the headers of all."""
    checked: list[list[SliceFacts]] = []
    taken, least, room = 0, 0, None
    for path in files:
        slices = _checked(path, allow_own_output, limits)
        checked.append(slices)
        of_file = kept_bytes(*(facts.header for facts in slices))
        taken += of_file
        least = min(least or of_file, of_file)
        # The first ones may be longer than the others.
        needed = taken + (least * (len(files) - len(checked)) if len(checked) > SAMPLE else 0)
        if needed <= UNASKED_BYTES:
            continue
        if room is None:
            room = available_bytes()
            if room is None:
                continue
            room += taken
        if needed > room:
            raise refusal(
                f"the headers of a series must fit into memory; those of {len(files)} files need"
                f" {needed / 2**30:.1f} GiB or more, {room / 2**30:.1f} GiB are available",
                "Use a machine with more memory, or fewer slices.",
                header=slices[0].header,
            )
    return checked


def _checked(path: Path, allow_own_output: bool, limits: Limits) -> list[SliceFacts]:
    header = read_header(path, limits)
    try:
        return check_file(header, path, allow_own_output=allow_own_output)
    except (OSError, *PARSE_ERRORS) as error:
        raise refusal(
            f"attributes must be readable; one raises {type(error).__name__}",
            "Copy or export the file again.",
            path=path,
            header=header,
        ) from error


@dataclass(frozen=True)
class _Told:
    """Return warnings about the stacks of a series."""

    warnings: list[str]
    remarks: list[str]


def _stacks(
    slices: Sequence[SliceFacts], refuse_gaps: bool
) -> tuple[list[tuple[list[SliceFacts], SeriesGeometry]], _Told]:
    """Return the stack of a series, or one for each of its volumes: slices in order, and the grids that they form."""
    arrangement = _arrange(slices)
    remarks = []
    volumes: Sequence[Sequence[SliceFacts]] = [slices]
    if arrangement.verdict is Verdict.MULTI_VOLUME:
        split = split_volumes(slices)
        volumes = split.volumes
        remarks = [
            f"{len(volumes)} volumes of {len(volumes[0])} slices, by {split.ordered_by}; each is denoised separately"
        ]
    stacks, warnings = [], []
    for volume in volumes:
        if len(volumes) > 1:
            arrangement = _arrange(volume)
        geometry = _accepted(volume, arrangement, refuse_gaps)
        ordered = [volume[index] for index in arrangement.order]
        warnings.append(_part_warnings(ordered, arrangement, geometry))
        stacks.append((ordered, geometry))
    # The volumes of a series are at the same positions: what applies to one applies to all.
    return stacks, _Told(warnings[0], remarks)


def _arrange(slices: Sequence[SliceFacts]) -> Arrangement:
    return arrange_slices(
        [facts.position_mm for facts in slices],
        [facts.orientation for facts in slices],
        [facts.pixel_spacing_mm for facts in slices],
        slices[0].pixels.shape_hw,
    )


def _accepted(slices: Sequence[SliceFacts], arrangement: Arrangement, refuse_gaps: bool) -> SeriesGeometry:
    """Return the grids of an arrangement; refuse one that is not supported."""
    geometry = arrangement.geometry
    if geometry is None or (refuse_gaps and len(geometry.parts) > 1):
        culprit = slices[arrangement.culprit or 0]
        next_step = NEXT_STEPS.get(arrangement.verdict, "Export the series again from the scanner or the archive.")
        if geometry is not None:
            copy = f"{next_step} " if arrangement.verdict is Verdict.GAP else ""
            next_step = f"{copy}Without refuse_gaps its even runs are denoised separately."
        raise refusal(
            f"must place the slices on a regular grid; they are {arrangement.verdict.value} ({arrangement.detail})",
            next_step,
            keyword=KEYWORDS.get(arrangement.verdict, "ImagePositionPatient"),
            path=culprit.label,
            header=culprit.header,
        )
    return geometry


def _without_copies(files: Sequence[list[SliceFacts]]) -> list[list[SliceFacts]]:
    """Drop files that are byte for byte a copy of another; refuse different files with one SOPInstanceUID."""
    seen: dict[str, list[SliceFacts]] = {}
    for slices in files:
        facts = slices[0]
        uid = text(facts.header, "SOPInstanceUID")
        original = seen.setdefault(uid, slices)[0]
        if original is facts:
            continue
        if _digest(original.path) != _digest(facts.path):
            raise refusal(
                f"must be different in each file; {original.path.name} has {uid} too, with other content",
                "Remove the one that does not belong to the series from the folder.",
                keyword="SOPInstanceUID",
                path=facts.path,
                header=facts.header,
            )
        logger.warning("%s is a copy of %s and is used once", facts.path, original.path)
    return list(seen.values())


def _digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(DIGEST_CHUNK):
            digest.update(chunk)
    return digest.digest()


def _part_warnings(slices: Sequence[SliceFacts], arrangement: Arrangement, geometry: SeriesGeometry) -> list[str]:
    """Return a warning of where a stack is uneven, and the consequences."""
    parts = geometry.parts
    if len(parts) == 1:
        return []
    ends = np.cumsum([part.shape_dhw[0] for part in parts])
    places = [f"{slices[end - 1].label.name} and {slices[end].label.name}" for end in ends[:-1]]
    more = f" and {len(places) - NAMED_PLACES} more" if len(places) > NAMED_PLACES else ""
    sizes = ", ".join(f"{part.shape_dhw[0]} at {part.spacing_mm[0]:.4g} mm" for part in parts[: NAMED_PLACES + 1])
    alone = sum(part.shape_dhw[0] == 1 for part in parts)
    unchanged = f"; single slices that are not changed: {alone}" if alone else ""
    return [
        f"slices are {arrangement.verdict.value} ({arrangement.detail}): each run ({sizes}"
        f"{', ...' if len(parts) > NAMED_PLACES + 1 else ''}) is denoised separately, split between"
        f" {'; '.join(places[:NAMED_PLACES])}{more}{unchanged}"
    ]


def _tilt_remarks(geometry: SeriesGeometry) -> list[str]:
    angles = sorted({f"{part.tilt_degrees:.1f}" for part in geometry.parts if part.is_sheared})
    if not angles:
        return []
    return [f"the stack is sheared by {' and '.join(angles)} degrees (gantry tilt); its slices are not resampled"]


def _overlap_remarks(first: SliceFacts, geometry: SeriesGeometry) -> list[str]:
    thickness = values(first.header, "SliceThickness")
    distance = min(spacing[0] for spacing in geometry.spacings_mm)
    try:
        overlaps = bool(thickness) and float(thickness[0]) > distance + tolerance_mm(distance)
    except (TypeError, ValueError):
        return []
    if not overlaps:
        return []
    return [
        f"slices of {float(thickness[0]):.4g} mm overlap at steps of {distance:.4g} mm and share noise; a part stays"
    ]


def _frame_of_reference_warnings(first: SliceFacts) -> list[str]:
    """Return a warning if all slices lack the UID, which leaves their positions comparable with each other."""
    if text(first.header, "FrameOfReferenceUID"):
        return []
    return [
        f"{tag_text('FrameOfReferenceUID')} is missing in all slices: positions are assumed to have one frame of"
        " reference, and the new series has none either"
    ]


def _overlay_warnings(slices: Sequence[SliceFacts]) -> list[str]:
    concerned = [facts for facts in slices if embedded_overlay_groups(facts.header)]
    if not concerned:
        return []
    return [
        f"{len(concerned)} slices hold an overlay in unused bits of their pixels (first: {concerned[0].path}); "
        "it is not kept"
    ]


def _burned_in_warnings(slices: Sequence[SliceFacts]) -> list[str]:
    concerned = [facts for facts in slices if has_burned_in_text(facts.header)]
    if not concerned:
        return []
    return [
        f"{tag_text('BurnedInAnnotation')} is YES in {len(concerned)} slices (first: {concerned[0].path}): text in"
        " their pixels may identify the patient; it is kept in the new series, whose report has no pictures"
    ]


def _pet_warnings(slices: Sequence[SliceFacts]) -> list[str]:
    first = slices[0]
    if not policy_of(text(first.header, "Modality")).counts_from_series_time:
        return []
    found = []
    if text(first.header, "Units") == "CNTS":
        found.append(f"holds counts (Units CNTS): {_factors(slices)}")
    if text(first.header, "DecayCorrection") in ("", "NONE") and text(first.header, "DecayCorrected") != "YES":
        found.append("is not corrected for decay: neighboring slices acquired at different times may differ by it")
    return found


def _factors(slices: Sequence[SliceFacts]) -> str:
    """Return what happens to the factors by which Philips converts counts to uptake values and Bq/ml."""
    kept = []
    for element, meaning in COUNT_FACTORS.items():
        there = [
            private_numbers(facts.header, creators_of(facts.header), COUNT_CREATOR, COUNT_GROUP, element)
            for facts in slices
        ]
        if all(there):
            kept.append(f"that to {meaning} ({COUNT_GROUP:04X},xx{element:02X})")
    if kept:
        return f"the private factor of Philips is kept, {' and '.join(kept)}; others in private attributes are not"
    return "factors to uptake values in private attributes are not copied"
