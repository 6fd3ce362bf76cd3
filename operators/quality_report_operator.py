# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a quality report of each new series."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from monai.deploy.core import Fragment, Operator, OperatorSpec

from nsn2n.jobs.report_output import write_quality_report
from nsn2n.operators.image_metadata import REPORT

__all__ = ["QualityReportOperator"]


class QualityReportOperator(Operator):
    """Writes report.html and report.json for each series that was written.

    A report that cannot be written is a warning in the log: the series is complete.

    Named input:
        written_series: as `DICOMSeriesWriterOperator` emits it, of an image that `NSN2NDenoiseOperator` emitted with
            ``report=True``. Of other images there is nothing to report.
    """

    INPUT_WRITTEN = "written_series"

    def __init__(self, fragment: Fragment, *args: Any, output_folder: Path | str, **kwargs: Any) -> None:
        """Store the folder.

        Parameters
        ----------
        fragment : Fragment
        output_folder : path
            Parent of the folder ``reports``.
        """
        self.output_folder = Path(output_folder)
        self.written: list[Path] = []
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the port."""
        spec.input(self.INPUT_WRITTEN)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive a written series, write its report."""
        series, metadata = op_input.receive(self.INPUT_WRITTEN)
        if REPORT in metadata:
            page = write_quality_report(
                self.output_folder, metadata[REPORT], series, str(metadata.get("SeriesInstanceUID"))
            )
            self.written += [page] if page else []
