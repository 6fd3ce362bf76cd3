# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Denoises a volume on itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from monai.deploy.core import Fragment, Image, Operator, OperatorSpec

from nsn2n import denoise
from nsn2n.operators.failures import ErrorHandler, series_errors
from nsn2n.operators.image_metadata import (
    PADDING_MASK,
    PART_SHEARS,
    PARTS,
    RECORD,
    REPORT,
    known_modality,
    part_spacings_mm,
    series_label,
    spacing_mm,
)
from nsn2n.report import collect_report

__all__ = ["NSN2NDenoiseOperator", "denoise_image"]


class NSN2NDenoiseOperator(Operator):
    """Denoises an image with a network trained on that image alone (NS-N2N).

    Knows nothing of DICOM: it takes the ``Image`` of any operator that names its spacing as the SDK does.

    Named input:
        image: Image, shape (D, H, W), any real type, in units of the modality. Of its metadata these are
            used, all optional: ``depth_pixel_spacing``, ``row_pixel_spacing``, ``col_pixel_spacing`` (mm),
            ``Modality``, ``padding_mask_dhw`` (bool array: True takes no part and stays as it is), and, where
            not all slices are neighbors, ``parts`` (list of int: slices of each part, which are denoised apart)
            with ``part_spacings_mm``; where slices lie displaced, ``part_shears_px``.

    Named output:
        image: Image, float32, same shape and units. Metadata: that of the input, and ``nsn2n``, a dict of
            plain values: settings, seed, measurements, verdict, and the line ``summary``. If asked for,
            ``nsn2n_report``, the `nsn2n.report.ReportData`.
    """

    INPUT_IMAGE = "image"
    OUTPUT_IMAGE = "image"

    def __init__(
        self,
        fragment: Fragment,
        *args: Any,
        preset: str = "default",
        seed: int | None = None,
        strength: float | None = None,
        device: str = "auto",
        config: Mapping[str, Any] | None = None,
        progress: Callable[[float, float], None] | None = None,
        report: bool = False,
        on_error: ErrorHandler | None = None,
        **kwargs: Any,
    ) -> None:
        """Store the settings, which are those of `nsn2n.denoise`.

        Parameters
        ----------
        fragment : Fragment
        preset : str
        seed : int, optional
            In place of that of the settings.
        strength : float, optional
            How much of the noise to remove, 0..1; in place of that of the settings.
        device : str
        config : mapping, optional
            Settings that differ from those of the preset.
        progress : callable, optional
            Called with the fraction done and the seconds left.
        report : bool
            Put what a quality report needs into the metadata.
        on_error : callable, optional
            Called with the label of an image that cannot be denoised and the error, instead of ending the
            graph.
        """
        self.preset = preset
        self.seed = seed
        self.strength = strength
        self.device = device
        self.config = dict(config or {})
        self.progress = progress
        self.report = report
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
                image,
                preset=self.preset,
                seed=self.seed,
                strength=self.strength,
                device=self.device,
                config=self.config,
                progress=self.progress,
                report=self.report,
            )
            op_output.emit(denoised, self.OUTPUT_IMAGE)


def denoise_image(
    image: Image,
    *,
    preset: str = "default",
    seed: int | None = None,
    strength: float | None = None,
    device: str = "auto",
    config: Mapping[str, Any] | None = None,
    progress: Callable[[float, float], None] | None = None,
    report: bool = False,
) -> Image:
    """Denoise an SDK image; parameters and errors are those of `nsn2n.denoise` and `NSN2NDenoiseOperator`.

    Returns
    -------
    Image
        A new one, as `NSN2NDenoiseOperator` emits it; the input is not changed.
    """
    metadata = image.metadata()
    volume, spacing = np.asarray(image.asnumpy(), dtype=np.float32), spacing_mm(metadata)
    result = denoise(
        volume,
        spacing_mm=part_spacings_mm(metadata) or spacing,
        modality=known_modality(metadata),
        preset=preset,
        seed=seed,
        strength=strength,
        device=device,
        config=config,
        progress=progress,
        exclude=metadata.get(PADDING_MASK),
        parts=metadata.get(PARTS),
        shear_px=metadata.get(PART_SHEARS),
    )
    added: dict[str, Any] = {RECORD: {**result.record, "summary": result.summary()}}
    if report:
        added[REPORT] = collect_report(volume, result, spacing_mm=spacing)
    return Image(result.volume, {**metadata, **added})
