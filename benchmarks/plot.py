# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A plot of quality over time, one panel for each case."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path

from matplotlib.figure import Figure
from table import Row, mean_rows

__all__ = ["save_plot"]

QUALITY = (
    ("psnr_tissue", "PSNR in tissue, dB"),
    ("rod_noise_sd", "noise sd in the rods, HU"),
    ("feature_kept", "part of the feature kept"),
    ("change_rms", "rms of the change"),
)
"""The first of these that a case has is drawn."""
PANELS_IN_A_ROW = 3


def save_plot(rows: Iterable[Row], path: Path) -> None:
    """Draw quality over seconds for the methods of each case; the dashed line is the noisy volume."""
    cases: dict[str, list[Row]] = {}
    for row in mean_rows(rows):
        cases.setdefault(f"{row['case']}, {row['shape']}", []).append(row)
    if not cases:
        return
    lines = math.ceil(len(cases) / PANELS_IN_A_ROW)
    across = min(len(cases), PANELS_IN_A_ROW)
    figure = Figure(figsize=(4.6 * across, 3.6 * lines), layout="constrained")
    panels = figure.subplots(lines, across, squeeze=False).ravel()
    for panel in panels[len(cases) :]:
        panel.set_axis_off()
    for panel, (title, of_case) in zip(panels, cases.items(), strict=False):
        measure, label = next(pair for pair in QUALITY if any(row[pair[0]] for row in of_case))
        for row in (row for row in of_case if row[measure]):
            value = float(row[measure])
            if not row["seconds"]:
                panel.axhline(value, color="gray", linestyle="--", linewidth=1)
                continue
            ours = row["package"].startswith("nsn2n")
            panel.plot(float(row["seconds"]), value, "o", color="C3" if ours else "C0")
            panel.annotate(row["method"], (float(row["seconds"]), value), xytext=(4, 4), textcoords="offset points")
        panel.set_xscale("log")
        panel.set_title(title, fontsize=9)
        panel.set_xlabel("seconds")
        panel.set_ylabel(label)
    figure.savefig(path, dpi=100)
