# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The quality report of a denoised volume: what was removed, how much noise there was and is, and how it was done.

    data = collect_report(volume, result, spacing_mm=spacing_mm)
    write_report("reports/t1", data, source={"file": "t1.nii.gz"})

``collect_report`` reduces the volumes to some pictures and curves, ``write_report`` makes ``report.json`` and
``report.html`` of them. Neither holds anything of a patient but the pictures of slices.
"""

from __future__ import annotations

from nsn2n.report.collect import ReportData, collect_report
from nsn2n.report.write import report_schema, write_report

__all__ = ["ReportData", "collect_report", "report_schema", "write_report"]
