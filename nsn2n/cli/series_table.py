# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The content of a folder as a table: each series, and whether it would be denoised."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from nsn2n.dicom.attributes import one_line
from nsn2n.dicom.read.geometry import SeriesGeometry
from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.selection.rules import default_rules, select_series
from nsn2n.dicom.selection.scan import SeriesRecord, scan_folder
from nsn2n.errors import NSN2NError

__all__ = ["SeriesLine", "list_series", "print_series", "spacings"]


@dataclass(frozen=True, kw_only=True)
class SeriesLine:
    """One series as displayed; each text is on one line and holds no patient data."""

    number: str
    modality: str
    description: str
    image_type: str
    size: str
    """Slices (or files, if it is not a volume) x rows x columns."""
    spacing_mm: str
    """Between slices, rows and columns."""
    denoise: str
    """``yes``, possibly in parts; ``left alone: ...``: not selected; ``refused: ...``: selected, but not readable as a
    volume."""
    series_uid: str


def list_series(folder: Path | str) -> list[SeriesLine]:
    """Assess every series of a folder by its headers.

    Raises
    ------
    DicomError
        If there is no DICOM series in the folder, or a file is damaged.
    """
    scan = scan_folder(folder)
    selection = select_series(scan, default_rules())
    left_alone = {record.SeriesInstanceUID: reason for record, reason in selection.left_alone}
    return [_line(record, left_alone.get(record.SeriesInstanceUID)) for record in scan.series]


def _line(record: SeriesRecord, reason: str | None) -> SeriesLine:
    geometry: SeriesGeometry | None = None
    if reason is None:
        try:
            geometry = inspect_series(record.files)
            parts = len(geometry.parts)
            verdict = "yes" if parts == 1 else f"yes, in {parts} parts"
        except NSN2NError as error:
            verdict = f"refused: {error}"
    else:
        verdict = reason.removeprefix(f"{record.label}: ")
    return SeriesLine(
        number="-" if record.SeriesNumber is None else str(record.SeriesNumber),
        modality=_one_line(record.Modality),
        description=_one_line(record.SeriesDescription),
        image_type=_one_line("\\".join(record.ImageType)),
        size=_size(record, geometry),
        spacing_mm="-" if geometry is None else spacings(geometry),
        denoise=_one_line(verdict),
        series_uid=_one_line(record.SeriesInstanceUID),
    )


def _size(record: SeriesRecord, geometry: SeriesGeometry | None) -> str:
    if geometry is not None:
        return " x ".join(map(str, geometry.shape_dhw))
    files = f"{len(record.files)} file{'s' if len(record.files) > 1 else ''}"
    return f"{files} of {record.Rows} x {record.Columns}" if record.Rows and record.Columns else files


def spacings(geometry: SeriesGeometry) -> str:
    """Return each distinct spacing once, in the order of the parts."""
    return "; ".join(
        dict.fromkeys(" x ".join(f"{step:.4g}" for step in spacing_mm) for spacing_mm in geometry.spacings_mm)
    )


def _one_line(text: str) -> str:
    """Return a text without tabs and line breaks, which would break the table."""
    return one_line(text).strip() or "-"


def print_series(lines: Sequence[SeriesLine], console: Console | None = None) -> None:
    """Print a table on a terminal, otherwise tab-separated lines with a header."""
    console = console or Console()
    if not console.is_terminal:
        rows = [[entry.name for entry in fields(SeriesLine)], *(list(astuple(line)) for line in lines)]
        (console.file or sys.stdout).write("".join("\t".join(row) + "\n" for row in rows))
        return
    table = Table(show_lines=True)
    for title, justify in (("No.", "right"), ("series", "left"), ("size, spacing in mm", "left"), ("denoise", "left")):
        table.add_column(title, justify=justify, overflow="fold")  # type: ignore[arg-type]
    for line in lines:
        what = f"{line.modality} {line.description}\n{line.image_type}\n{line.series_uid}"
        size = f"{line.size}\n{line.spacing_mm}"
        style = "green" if line.denoise.startswith("yes") else "red" if line.denoise.startswith("refused") else "dim"
        # As Text: brackets in a description are not markup.
        table.add_row(line.number, Text(what), Text(size), Text(line.denoise, style=style))
    console.print(table)
