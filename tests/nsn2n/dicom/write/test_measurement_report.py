# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The report against what was measured, a validator, and another reader."""

from __future__ import annotations

from datetime import datetime, timezone

import highdicom
import pytest

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.write.derive import DerivedSeries
from nsn2n.dicom.write.measurement_report import measurement_report
from nsn2n.dicom.write.series_writer import write_series

SERIES = DerivedSeries("2.25.78", 1003, datetime.now(timezone.utc))


def _record(verdict, edges, detail):
    structure = {
        "verdict": verdict,
        "edges": edges,
        "detail": detail,
        "contrast": None if detail else 0.625,
        "excess": 6.25,
        "coherence": 0.75,
        "findings": [],
    }
    kept = {
        "discs": [{"diameter_mm": 3.0, "contrast_sd": 0.5, "kept": 0.375, "discs": 5, "visible": False}],
        "maps": [],
    }
    return {
        "measured": {"noise_sd_median": 20.5, "rms_change": 19.25},
        "structure": structure,
        "contrast_kept": kept if detail else None,
    }


@pytest.mark.parametrize(
    ("modality", "verdict", "edges", "detail"),
    [("CT", "pass", 0.01, 0.05), ("MR", "review", None, 0.15), ("PT", "fail", 0.3, None)],
)
def test_says_what_was_measured_of_both_series(
    make_series, tmp_path, derivation, dciodvfy_messages, modality, verdict, edges, detail
):
    source = read_series(make_series(modality=modality))
    written = write_series(source.stack.values, source.files, tmp_path / "out", derivation)

    made = measurement_report(source.files, written.files, _record(verdict, edges, detail), SERIES, "1.0")
    made.save_as(tmp_path / "report.dcm")

    document = highdicom.sr.srread(tmp_path / "report.dcm")
    (group,) = document.content.get_image_measurement_groups()
    values = {item.name.meaning: item.value for item in group.get_measurements()}
    assert values.pop("Share of edge detail removed", None) == edges
    assert values.pop("Share of faint detail removed", None) == detail
    assert values.pop("Share of contrast of faint discs removed", None) == (None if detail else 0.625)
    assert values.pop("Contrast kept, 3 mm disc, 0.5 noise SD", None) == (0.375 if detail else None)
    assert values == {
        "Standard Deviation": 20.5,
        "Root Mean Square": 19.25,
        "Largest local mean of removed part": 6.25,
        "Coherence of removed part": 0.75,
    }
    (evaluation,) = group.get_qualitative_evaluations()
    assert evaluation.value.value == verdict.upper()
    evidence = {
        item.SeriesInstanceUID: len(item.ReferencedSOPSequence)
        for study in document.CurrentRequestedProcedureEvidenceSequence
        for item in study.ReferencedSeriesSequence
    }
    assert evidence == {source.SeriesInstanceUID: 5, written.SeriesInstanceUID: 5}
    messages = dciodvfy_messages([tmp_path / "report.dcm"])
    assert not [line for line in messages if line.startswith("Error")]
