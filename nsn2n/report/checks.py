# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The structure check in a report: a row for each measure, the reason for the verdict, and where to look."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from nsn2n.structure_check import limits_of

__all__ = ["check_rows", "places_to_check", "reason"]

CHECKS = {
    "detail": ("Faint detail", "fraction lost in a simulated copy of part of the volume, for which the truth is known"),
    "contrast": ("Faint discs", "fraction of contrast lost by inserted discs that are visible in the source"),
    "edges": ("Edges", "fraction of the fine detail of edges that was removed; 0 for noise"),
    "excess": ("Small structures", "largest local mean of what was removed, in sd of a local mean of noise"),
    "coherence": (
        "Coherence",
        "all local means of what was removed, relative to those of noise; above 1: more than noise",
    ),
}
UNKNOWN = {
    "detail": "none distinguishable from noise",
    "contrast": "no space for discs",
    "edges": "too few edges to judge",
}
"""Text for a fraction that could not be measured."""

_NAMED_PLACES = 3


def check_rows(structure: Mapping[str, Any], limits: Mapping[str, float]) -> list[dict[str, str]]:
    """Return a row for each measure.

    Parameters
    ----------
    structure : mapping
        As `nsn2n.structure_check.StructureCheck.record` gives it.
    limits : mapping
        Section ``structure`` of the settings.
    """
    rows = []
    for name, (title, meaning) in CHECKS.items():
        value = structure[name]
        review, fail = limits_of(name, limits, detail=structure["detail"])
        known = value is not None and math.isfinite(value)
        verdict = "none" if not known else "fail" if value > fail else "review" if value > review else "pass"
        rows.append(
            {
                "title": title,
                "meaning": meaning,
                "value": _value(name, value) if known else UNKNOWN[name],
                "limits": ", ".join(
                    f"{than} above {_value(name, limit)}"
                    for than, limit in (("review", review), ("fail", fail))
                    if math.isfinite(limit)
                ),
                "verdict": verdict,
            }
        )
    return rows


def _value(name: str, value: float) -> str:
    return f"{100 * value:.1f} %" if name in UNKNOWN else f"{value:.1f} sd" if name == "excess" else f"{value:.2f}"


def reason(verdict: str, rows: Sequence[Mapping[str, str]]) -> str:
    """Return one sentence that explains the verdict; `rows` are those of `check_rows`."""
    if verdict == "pass":
        return "What was removed looks like noise: no measure is above its limit."
    above = [row for row in rows if row["verdict"] in ("review", "fail")]
    above.sort(key=lambda row: row["verdict"] != verdict)  # the deciding ones come first
    named = "; ".join(f"{row['title'].lower()} {row['value']} ({row['limits']})" for row in above)
    return f"What was removed may contain anatomy: {named or 'not every part could be measured'}."


def places_to_check(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Name the most conspicuous places, slices counted from 1, rows and columns from 0, as in the table."""
    places = [finding["index_zyx"] for finding in findings[:_NAMED_PLACES]]
    named = [f"slice {z + 1}, row {y}, column {x}" for z, y, x in places]
    more = len(findings) - len(named)
    return [*named, *([f"{more} more, listed under Structure check"] if more else [])]
