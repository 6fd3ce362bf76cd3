# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The pipeline: choose series, read, denoise, write, report."""

from __future__ import annotations

from typing import Any

from nsn2n.app.arguments import Arguments, parse_arguments
from nsn2n.app.settings import selection_rules_file
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.outcomes import JobOutcomes, conclude
from nsn2n.operators import (
    DICOMSeriesSelectionOperator,
    DICOMSeriesWriterOperator,
    NSN2NDenoiseOperator,
    QualityReportOperator,
    VolumeLoaderOperator,
)
from nsn2n.runtime.logs import ProgressLog

# isort: split
# After the operators, which make Holoscan importable.
from monai.deploy.core import Application

__all__ = ["NSN2NApp"]


class NSN2NApp(Application):
    """Denoises every selected series of a folder; a series that fails does not stop the others, unless configured."""

    def __init__(
        self,
        *args: Any,
        arguments: Arguments | None = None,
        job_options: JobOptions | None = None,
        **kwargs: Any,
    ) -> None:
        """Store what the graph is built from.

        Parameters
        ----------
        arguments : Arguments, optional
            Folders; by default those given by command line and environment.
        job_options : JobOptions, optional
            (``options`` is Holoscan's own word for the command line.)
        """
        self.arguments = arguments
        self.job_options = job_options or JobOptions()
        self.outcomes = JobOutcomes(strict=self.job_options.strict)
        super().__init__(*args, **kwargs)

    def compose(self) -> None:
        """Connect the operators."""
        arguments = self.arguments or parse_arguments(self.argv[1:])
        options, on_error = self.job_options, self.outcomes.failed
        self.selection_operator = DICOMSeriesSelectionOperator(
            self,
            input_folder=arguments.input_folder,
            rules=selection_rules_file(options, arguments.model_folder),
            series_uids=options.series_uids,
            should_continue=self.outcomes.should_continue,
            on_error=on_error,
            name="dicom_series_selection",
        )
        loader = VolumeLoaderOperator(
            self, refuse_gaps=options.refuse_gaps, memory=options.memory, on_error=on_error, name="volume_loader"
        )
        denoiser = NSN2NDenoiseOperator(
            self,
            options=options,
            progress=ProgressLog(),
            report=options.report,
            viewer=options.viewer,
            on_error=on_error,
            name="nsn2n_denoise",
        )
        self.writer_operator = DICOMSeriesWriterOperator(
            self,
            output_folder=arguments.output_folder,
            options=options,
            on_error=on_error,
            name="dicom_series_writer",
        )
        self.add_flow(
            self.selection_operator,
            loader,
            {(DICOMSeriesSelectionOperator.OUTPUT_SERIES, VolumeLoaderOperator.INPUT_SERIES)},
        )
        self.add_flow(loader, denoiser, {(VolumeLoaderOperator.OUTPUT_IMAGE, NSN2NDenoiseOperator.INPUT_IMAGE)})
        self.add_flow(
            denoiser,
            self.writer_operator,
            {(NSN2NDenoiseOperator.OUTPUT_IMAGE, DICOMSeriesWriterOperator.INPUT_IMAGE)},
        )
        if options.report:
            reporter = QualityReportOperator(self, output_folder=arguments.output_folder, name="quality_report")
            written = {(DICOMSeriesWriterOperator.OUTPUT_WRITTEN, QualityReportOperator.INPUT_WRITTEN)}
            self.add_flow(self.writer_operator, reporter, written)

    def conclude(self) -> int:
        """Log the outcome of a finished run and return the exit code; see `nsn2n.jobs.outcomes.conclude`."""
        selection = self.selection_operator.selection
        selected = len(selection.selected) if selection else 0
        written, untried = len(self.writer_operator.written), self.selection_operator.untried
        return conclude(selected, written, self.outcomes.failures, untried)
