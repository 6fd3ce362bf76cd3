# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Operators for MONAI Deploy applications: choose series, read one as a volume, denoise it, write it, report on it.

Each works independently: the volume loader also follows the SDK's own selector, the denoiser any operator that emits
an ``Image``.
"""

from __future__ import annotations

from nsn2n.runtime.cudart import preload_cudart
from nsn2n.runtime.gdcm_import import hide_dl_from_gdcm

hide_dl_from_gdcm()  # before the SDK imports pydicom
preload_cudart()  # before anything below imports Holoscan

from nsn2n.operators.dicom_series_selection_operator import DICOMSeriesSelectionOperator  # noqa: E402
from nsn2n.operators.dicom_series_writer_operator import DICOMSeriesWriterOperator  # noqa: E402
from nsn2n.operators.nsn2n_denoise_operator import NSN2NDenoiseOperator  # noqa: E402
from nsn2n.operators.quality_report_operator import QualityReportOperator  # noqa: E402
from nsn2n.operators.volume_loader_operator import VolumeLoaderOperator  # noqa: E402

__all__ = [
    "DICOMSeriesSelectionOperator",
    "DICOMSeriesWriterOperator",
    "NSN2NDenoiseOperator",
    "QualityReportOperator",
    "VolumeLoaderOperator",
]
