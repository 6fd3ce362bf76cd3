# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The quality report of a denoised volume: what was removed, the noise before and after, and how it was processed.

    data = collect_report(volume, result, spacing_mm=spacing_mm)
    write_report("reports/t1", data, source={"file": "t1.nii.gz"})

``collect_report`` reduces the volumes to some pictures and curves, ``write_report`` writes them to ``report.json``
and ``report.html``. Apart from the pictures of slices, neither holds patient data.
"""

from __future__ import annotations

from nsn2n.report.collect import ReportData, collect_report
from nsn2n.report.write import report_schema, write_report

__all__ = ["ReportData", "collect_report", "report_schema", "write_report"]
