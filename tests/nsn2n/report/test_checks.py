# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from dataclasses import asdict

import pytest

from nsn2n.report.checks import check_rows, places_to_check, reason
from nsn2n.settings import Settings

LIMITS = asdict(Settings().structure)
CLEAN = {"detail": 0.01, "contrast": 0.1, "edges": 0.0, "excess": 3.0, "coherence": 0.6}


def test_each_measure_has_its_own_verdict():
    rows = check_rows({**CLEAN, "edges": LIMITS["edges_review"] + 0.01, "coherence": 9.0}, LIMITS)

    assert {row["title"]: row["verdict"] for row in rows} == {
        "Faint detail": "pass",
        "Faint discs": "pass",
        "Edges": "review",
        "Small structures": "pass",
        "Coherence": "fail",
    }


def test_what_was_not_measured_has_no_verdict():
    rows = check_rows({**CLEAN, "edges": None, "contrast": None}, LIMITS)

    assert [(row["value"], row["verdict"]) for row in rows[1:3]] == [
        ("no space for discs", "none"),
        ("too few edges to judge", "none"),
    ]


@pytest.mark.parametrize(
    ("verdict", "found", "sentence"),
    [
        ("pass", {}, "What was removed looks like noise: no measure is above its limit."),
        (
            "review",
            {"edges": 0.123},
            "What was removed may contain anatomy: edges 12.3 % (review above 10.0 %, fail above 20.0 %).",
        ),
        (
            "fail",
            {"edges": 0.123, "excess": 9.0},
            "What was removed may contain anatomy: small structures 9.0 sd (review above 6.0 sd, fail above 8.0 sd); "
            "edges 12.3 % (review above 10.0 %, fail above 20.0 %).",
        ),
    ],
)
def test_the_reason_is_one_sentence_and_begins_with_what_decides(verdict, found, sentence):
    assert reason(verdict, check_rows({**CLEAN, **found}, LIMITS)) == sentence


def test_the_worst_places_are_named():
    findings = [{"index_zyx": [z, 7, 8], "excess": 9.0, "size_px": 1.0} for z in (4, 0, 2, 3, 1)]

    assert places_to_check(findings) == [
        *("slice 5, row 7, column 8", "slice 1, row 7, column 8", "slice 3, row 7, column 8"),
        "2 more, listed under Structure check",
    ]
    assert places_to_check(findings[:1]) == ["slice 5, row 7, column 8"]
    assert places_to_check([]) == []
