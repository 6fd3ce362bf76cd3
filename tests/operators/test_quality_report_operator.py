# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A report follows each series through the graph."""

from __future__ import annotations

import json

from nsn2n.operators import (
    DICOMSeriesSelectionOperator,
    DICOMSeriesWriterOperator,
    NSN2NDenoiseOperator,
    QualityReportOperator,
    VolumeLoaderOperator,
)


def _run(run_graph, study, output, small_fit, *, report):
    operators = {}

    def build(app):
        selection = DICOMSeriesSelectionOperator(app, input_folder=study, name="selection")
        loader = VolumeLoaderOperator(app, on_error=lambda *_: None, name="loader")
        denoiser = NSN2NDenoiseOperator(app, preset="fast", config=small_fit, report=report, name="denoiser")
        writer = DICOMSeriesWriterOperator(app, output_folder=output, name="writer")
        reporter = QualityReportOperator(app, output_folder=output, name="reporter")
        operators.update(writer=writer, reporter=reporter)
        app.add_flow(selection, loader, {(DICOMSeriesSelectionOperator.OUTPUT_SERIES,) * 2})
        app.add_flow(loader, denoiser, {("image", "image")})
        app.add_flow(denoiser, writer, {("image", "image")})
        app.add_flow(
            writer, reporter, {(DICOMSeriesWriterOperator.OUTPUT_WRITTEN, QualityReportOperator.INPUT_WRITTEN)}
        )

    run_graph(build)
    return operators


def test_report_of_each_series(study, run_graph, small_fit, tmp_path):
    operators = _run(run_graph, study, tmp_path / "out", small_fit, report=True)

    series = operators["writer"].written
    assert len(series) == 2
    pages = operators["reporter"].written
    assert pages == [tmp_path / "out" / "reports" / one.SeriesInstanceUID / "report.html" for one in series]
    numbers = [json.loads((page.parent / "report.json").read_text())["derived"]["SeriesNumber"] for page in pages]
    assert numbers == [one.SeriesNumber for one in series]


def test_nothing_to_report(study, run_graph, small_fit, tmp_path):
    operators = _run(run_graph, study, tmp_path / "out", small_fit, report=False)

    assert len(operators["writer"].written) == 2
    assert operators["reporter"].written == []
    assert not (tmp_path / "out" / "reports").exists()
