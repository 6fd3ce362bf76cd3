# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Denoises a volume with a network fitted to it alone."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from monai.deploy.core import Fragment, Image, Operator, OperatorSpec

from nsn2n._aliases import Progress
from nsn2n.jobs.dicom_job import denoise_series
from nsn2n.jobs.options import METHOD, JobOptions
from nsn2n.jobs.outcomes import ErrorHandler, series_errors
from nsn2n.operators.image_metadata import RECORD, REPORT, STACK, series_label, stack_of
from nsn2n.runtime.config_loading import option_of

__all__ = ["NSN2NDenoiseOperator", "denoise_image"]

_METHOD_OPTIONS = tuple(
    entry.name for entry in fields(JobOptions) if (option := option_of(entry)) is not None and option.group == METHOD
)


class NSN2NDenoiseOperator(Operator):
    """Denoises an image with a network trained on that image alone (NS-N2N).

    Independent of DICOM: it takes the ``Image`` of any operator with the SDK's metadata keys for the spacing.

    Named input:
        image: Image, shape (D, H, W), any real type, in units of the modality. Of its metadata these are
            used, all optional: ``slice_stack`` (`nsn2n.SliceStack`, as emitted by `VolumeLoaderOperator`: padding,
            parts and tilt), else ``depth_pixel_spacing``, ``row_pixel_spacing``, ``col_pixel_spacing`` (mm) and
            ``Modality``.

    Named output:
        image: Image, float32, same shape and units. Metadata: that of the input, with the ``slice_stack`` of the new
            values, and ``nsn2n``, a dict of plain values: settings, seed, measurements, verdict, and the line
            ``summary``. If requested, ``nsn2n_report``, the `nsn2n.report.ReportData`.
    """

    INPUT_IMAGE = "image"
    OUTPUT_IMAGE = "image"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        options: JobOptions | None = None,
        progress: Progress | None = None,
        report: bool = False,
        viewer: bool = False,
        on_error: ErrorHandler | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the settings.

        Parameters
        ----------
        fragment : Fragment
        options : JobOptions, optional
            Those of the method are used.
        progress : callable, optional
            Called with the fraction done and the seconds left.
        report : bool
            Add the data of a quality report to the metadata.
        viewer : bool
            Also add the volumes of its viewer.
        on_error : callable, optional
            Called with the label of an image that cannot be denoised and the error, instead of ending the
            graph.
        **kwargs
            Options of the method by their names, overriding those of ``options``: ``preset``, ``seed``, ``strength``
            and so on; the rest is for Holoscan.
        """
        named = {name: kwargs.pop(name) for name in _METHOD_OPTIONS if name in kwargs}
        self.options = replace(options or JobOptions(), **named)
        self.progress = progress
        self.report = report
        self.viewer = viewer
        self.on_error = on_error
        super().__init__(fragment, *args, **kwargs)

    def setup(self, spec: OperatorSpec) -> None:
        """Declare the ports."""
        spec.input(self.INPUT_IMAGE)
        spec.output(self.OUTPUT_IMAGE)

    def compute(self, op_input: Any, op_output: Any, context: Any) -> None:
        """Receive an image, emit it denoised."""
        image = op_input.receive(self.INPUT_IMAGE)
        with series_errors(series_label(image.metadata()), self.on_error):
            denoised = denoise_image(
                image, self.options, report=self.report, viewer=self.viewer, progress=self.progress
            )
            op_output.emit(denoised, self.OUTPUT_IMAGE)


def denoise_image(
    image: Image,
    options: JobOptions | None = None,
    *,
    report: bool = False,
    viewer: bool = False,
    progress: Progress | None = None,
) -> Image:
    """Denoise an SDK image; parameters are those of `NSN2NDenoiseOperator`, errors those of `nsn2n.denoise`.

    Returns
    -------
    Image
        A new one, as `NSN2NDenoiseOperator` emits it; the input is not changed.
    """
    options = options or JobOptions()
    with options.within_memory():
        metadata, stack = image.metadata(), stack_of(image)
        made = denoise_series(
            stack, options.denoise, series_label(metadata), report=report, viewer=viewer, progress=progress
        )
        added = {RECORD: made.record, STACK: stack.with_values(made.values)}
    return Image(made.values, {**metadata, **added, **({REPORT: made.report} if report else {})})
