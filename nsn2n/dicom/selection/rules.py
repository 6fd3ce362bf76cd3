# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Selects series by rules in the language of the MONAI Deploy SDK, and reports why the others were left alone.

The language is that of ``DICOMSeriesSelectorOperator``: a JSON object ``{"selections": [{"name": ...,
"conditions": {keyword: value}}]}``. Conditions of one selection must all hold; what a value means depends on
the attribute:

- number: equal to a number; within ``[low, high]``; ``[number, ">"]`` and so on; a string is a regular
  expression for the whole number;
- text: equal without regard to case, or a regular expression found anywhere in it;
- several values: each string of a list occurs in the list of values as Python prints it, in lower case, and
  none of those after ``!`` does (so ``"!'P'"`` excludes the value P but not PRIMARY);
- ImageOrientationPatient: ``Axial``, ``Coronal`` or ``Sagittal``, by the largest component of the normal.

Three deviations: rules are checked when they are loaded, a number 0 is a value like any other, and
orientation needs no PatientPosition.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.uid import UID

from nsn2n.dicom.attributes import text, values
from nsn2n.dicom.image_kinds import is_own_output, why_no_image, why_not_a_volume
from nsn2n.dicom.selection.scan import Scan, SeriesRecord
from nsn2n.errors import DicomError, SettingsError
from nsn2n.runtime.config_loading import MOST_DIGITS, beginning, check_depth, read_short_text, shown

__all__ = [
    "LeftAlone",
    "Rules",
    "SelectedRecord",
    "Selection",
    "SelectionRule",
    "default_rules",
    "judge_header",
    "load_rules",
    "mismatch",
    "select_series",
]

RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    ">": lambda found, bound: found > bound,
    ">=": lambda found, bound: found >= bound,
    "<": lambda found, bound: found < bound,
    "<=": lambda found, bound: found <= bound,
    "!=": lambda found, bound: found != bound,
}

ORIENTATIONS = ("Sagittal", "Coronal", "Axial")
"""In the order of the patient axes x, y, z, by the largest component of the slice normal."""

SPACING_PROPERTIES = {"row_pixel_spacing": 0, "col_pixel_spacing": 1}
"""Names in the SDK of the two values of PixelSpacing, usable as keywords."""


@dataclass(frozen=True)
class SelectionRule:
    """One named selection; `conditions` are (keyword, value) pairs that must all hold."""

    name: str
    conditions: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Rules:
    """Selections in order; a series belongs to the first that it matches."""

    selections: tuple[SelectionRule, ...]


class SelectedRecord(NamedTuple):
    """A series to denoise and the name of the selection that matched it."""

    name: str
    record: SeriesRecord


class LeftAlone(NamedTuple):
    """A series that is not to be denoised and the reason in one line."""

    record: SeriesRecord
    reason: str


@dataclass(frozen=True)
class Selection:
    """The outcome for every series of a scan."""

    selected: tuple[SelectedRecord, ...]
    left_alone: tuple[LeftAlone, ...]


def default_rules() -> Rules:
    """Load the rules of the model bundle, ``configs/selection_rules.json``."""
    file = resources.files("nsn2n.bundle").joinpath("configs/selection_rules.json")
    return load_rules(file.read_text(encoding="utf-8"))


def load_rules(text_or_path: str | Path) -> Rules:
    """Load rules from JSON text (which begins with a brace) or from a file.

    Raises
    ------
    SettingsError
        If the file cannot be read, the text is not JSON, or a selection, keyword or value is invalid.
    """
    origin, content = "the selection rules", text_or_path
    if isinstance(text_or_path, Path) or not text_or_path.lstrip().startswith("{"):
        origin = str(text_or_path)
        try:
            content = read_short_text(text_or_path)
        except (OSError, ValueError) as error:
            raise SettingsError(
                f"selection rules must be a readable JSON file; got {type(error).__name__} at {shown(origin)[1:-1]}. "
                "Check the path, and that it is a short file in UTF-8."
            ) from error
    try:
        parsed = json.loads(str(content), parse_int=_number, parse_float=_number)
        check_depth(parsed)
    except RecursionError as error:
        raise SettingsError(f"{origin} must be JSON; got too many nested levels. Correct the text there.") from error
    except ValueError as error:
        raise SettingsError(f"{origin} must be JSON; got {error}. Correct the text there.") from error
    selections = parsed.get("selections") if isinstance(parsed, dict) else None
    if not isinstance(selections, list) or not selections or set(parsed) != {"selections"}:
        raise SettingsError(f'{origin} must be one object {{"selections": [...]}} with at least one selection.')
    return Rules(tuple(_selection_rule(entry, origin) for entry in selections))


def _number(text: str) -> int | float:
    if len(text) > MOST_DIGITS:
        raise ValueError(f"a number of {len(text)} characters")
    return int(text) if text.removeprefix("-").isdigit() else float(text)


def _selection_rule(entry: Any, origin: str) -> SelectionRule:
    allowed = {"name", "conditions"}
    if not isinstance(entry, dict) or set(entry) != allowed or not isinstance(entry["conditions"], dict):
        raise SettingsError(f'each selection in {origin} must have "name" and "conditions" only; got {shown(entry)}.')
    name, conditions = str(entry["name"]).strip(), entry["conditions"]
    if not name or not conditions:
        raise SettingsError(f"each selection in {origin} must have a name and a condition; got {shown(entry)}.")
    for keyword, value in conditions.items():
        _check_condition(keyword, value, f'selection "{beginning(name)}" in {origin}')
    return SelectionRule(name, tuple(conditions.items()))


def _check_condition(keyword: str, value: Any, origin: str) -> None:
    if keyword not in SPACING_PROPERTIES and tag_for_keyword(keyword) is None:
        raise SettingsError(f"{beginning(keyword)} in {origin} must be a DICOM keyword, such as SeriesDescription.")
    items = value if isinstance(value, list) else [value]
    if any(isinstance(item, bool) or not isinstance(item, (str, int, float, type(None))) for item in items):
        raise SettingsError(f"{keyword} in {origin} must be text, a number or a list of them; got {shown(value)}.")
    if keyword == "ImageOrientationPatient" and str(value).strip().capitalize() not in ORIENTATIONS:
        raise SettingsError(f"{keyword} in {origin} must be one of {', '.join(ORIENTATIONS)}; got {shown(value)}.")
    if isinstance(value, str):
        try:
            re.compile(value)
        except (re.error, OverflowError, RecursionError) as error:
            raise SettingsError(f"{keyword} in {origin} must be a regular expression; got {error}.") from error


def select_series(scan: Scan, rules: Rules, series_uids: Sequence[str] = ()) -> Selection:
    """Choose the series to denoise.

    Parameters
    ----------
    scan : Scan
    rules : Rules
        Used unless series are named. A series that can never be a volume (a report, a localizer, a phase
        image, our own output and the like) is left alone whatever the rules say.
    series_uids : sequence of str, optional
        Exactly these series are selected; the reader then refuses what cannot be denoised.

    Returns
    -------
    Selection
        Every series of the scan, in its order, either selected or left alone with a reason.

    Raises
    ------
    DicomError
        If a named series is missing.
    """
    if series_uids:
        return _select_named(scan, series_uids)
    selected: list[SelectedRecord] = []
    left_alone: list[LeftAlone] = []
    for record in scan.series:
        name, reason = _judged(record, rules)
        if name:
            selected.append(SelectedRecord(name, record))
        else:
            left_alone.append(LeftAlone(record, f"{record.label}: left alone: {reason}"))
    return Selection(tuple(selected), tuple(left_alone))


def _judged(record: SeriesRecord, rules: Rules) -> tuple[str, str]:
    """Return the selection that matches the series, or why none does."""
    reason = why_no_image(UID(record.SOPClassUID))
    if reason:
        return "", reason
    try:
        header = record.read_header()
    except DicomError:
        return "header not readable", ""  # later reported as the failure of that series
    return judge_header(header, rules)


def judge_header(header: Dataset, rules: Rules) -> tuple[str, str]:
    """Return the name of the selection that matches a series, by the header of one of its images, or why none does.

    One of the two texts is empty.
    """
    reason = why_no_image(UID(text(header, "SOPClassUID"))) or _never_a_volume(header)
    return ("", reason) if reason else _first_match(header, rules)


def _select_named(scan: Scan, series_uids: Sequence[str]) -> Selection:
    known = {record.SeriesInstanceUID for record in scan.series}
    unknown = [uid for uid in series_uids if uid not in known]
    if unknown:
        there = "; ".join(record.label for record in scan.series)
        raise DicomError(f"no series {', '.join(unknown)} in {scan.folder}. Choose from: {there}.")
    chosen = [record for record in scan.series if record.SeriesInstanceUID in set(series_uids)]
    others = [record for record in scan.series if record.SeriesInstanceUID not in set(series_uids)]
    return Selection(
        tuple(SelectedRecord("named by its UID", record) for record in chosen),
        tuple(LeftAlone(record, f"{record.label}: left alone: another series was named") for record in others),
    )


def _never_a_volume(header: Dataset) -> str:
    if is_own_output(header):
        return "it is an output of this program, already denoised"
    return why_not_a_volume(header) or ""


def _first_match(header: Dataset, rules: Rules) -> tuple[str, str]:
    """Return the first rule that matches the series, or why none does, from the rules for its modality."""
    of_modality = text(header, "Modality")
    reasons = []
    for rule in rules.selections:
        reason = mismatch(header, rule)
        if reason is None:
            return rule.name, ""
        modality = dict(rule.conditions).get("Modality")
        if not isinstance(modality, str) or _matches_text(of_modality, modality):
            reasons.append(f'{reason} (rule "{rule.name}")')
    return "", "; ".join(reasons) or f"no rule matches Modality {of_modality or 'that is empty'}"


def mismatch(header: Dataset, rule: SelectionRule) -> str | None:
    """Return which condition of a rule a series does not meet, or None if it meets all."""
    for keyword, wanted in rule.conditions:
        if wanted is None or wanted == "" or wanted == []:
            continue
        found = _values_of(header, keyword)
        if not found:
            return f"{keyword} has no value"
        reason = _condition_mismatch(keyword, found, wanted)
        if reason:
            return reason
    return None


def _values_of(header: Dataset, keyword: str) -> tuple[Any, ...]:
    if keyword in SPACING_PROPERTIES:
        spacing = values(header, "PixelSpacing")
        return spacing[SPACING_PROPERTIES[keyword] :][:1]
    return values(header, keyword)


def _condition_mismatch(keyword: str, found: tuple[Any, ...], wanted: Any) -> str | None:
    if keyword == "ImageOrientationPatient":
        orientation = _orientation(found)
        wanted = str(wanted).strip().capitalize()
        return None if orientation == wanted else f"the slices are {orientation}, not {wanted}"
    value = found[0]
    if len(found) == 1 and isinstance(value, (int, float)):
        return None if _matches_number(value, wanted) else f"{keyword} {value} is not {_spoken(wanted)}"
    if len(found) > 1 or isinstance(wanted, list):
        return _list_mismatch(keyword, found, wanted)
    return None if _matches_text(str(value), str(wanted)) else f'{keyword} "{value}" does not match {wanted!r}'


def _orientation(cosines: tuple[Any, ...]) -> str:
    if len(cosines) != 6:
        return "of unknown orientation"
    row, column = np.array(cosines[:3], dtype=float), np.array(cosines[3:], dtype=float)
    return ORIENTATIONS[int(np.argmax(np.abs(np.cross(row, column))))]


def _list_mismatch(keyword: str, found: tuple[Any, ...], wanted: Any) -> str | None:
    printed = str([str(value) for value in found]).lower()
    shown = "\\".join(str(value) for value in found)
    for term in wanted if isinstance(wanted, list) else [wanted]:
        word = str(term).lower()
        if word.startswith("!") and word[1:] in printed:
            return f"{keyword} {shown} has {str(term)[1:]}"
        if not word.startswith("!") and word not in printed:
            return f"{keyword} {shown} lacks {term}"
    return None


def _matches_number(found: float, wanted: Any) -> bool:
    if isinstance(wanted, str):
        return any(re.fullmatch(wanted, printed) for printed in (str(found), f"{float(found):.15g}"))
    if isinstance(wanted, list):
        if len(wanted) == 2 and wanted[1] in RELATIONS:
            return RELATIONS[wanted[1]](found, float(wanted[0]))
        if len(wanted) == 2 and all(isinstance(bound, (int, float)) for bound in wanted):
            return bool(wanted[0] <= found <= wanted[1])
        raise SettingsError(f"a condition on a number must be [low, high] or [number, relation]; got {wanted}.")
    return bool(found == wanted)


def _matches_text(found: str, wanted: str) -> bool:
    return found.casefold() == wanted.casefold() or re.search(wanted, found, re.IGNORECASE) is not None


def _spoken(wanted: Any) -> str:
    if isinstance(wanted, list) and len(wanted) == 2 and isinstance(wanted[1], str):
        return f"{wanted[1]} {wanted[0]}"
    return f"in {wanted[0]}..{wanted[1]}" if isinstance(wanted, list) else str(wanted)
