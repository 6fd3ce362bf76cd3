# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What a run would do, determined from headers alone; nothing is written."""

from __future__ import annotations

from pathlib import Path

import typer
import yaml
from pydicom.dataelem import convert_raw_data_element

from nsn2n.cli.series_table import spacings
from nsn2n.dicom.pixels.lossless import encoding
from nsn2n.dicom.read.slice_sorting import inspect_series
from nsn2n.dicom.selection.scan import SeriesRecord
from nsn2n.dicom.write.derive import new_series, series_description
from nsn2n.dicom.write.numbering import numbers_in
from nsn2n.errors import NSN2NError
from nsn2n.files.volume_files import read_mask, read_volume
from nsn2n.jobs.dicom_job import choose_series, series_numbers_by_study
from nsn2n.jobs.options import JobOptions
from nsn2n.jobs.volume_file_job import new_files
from nsn2n.runtime.logs import visible
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.settings import Settings

__all__ = ["plan_file", "plan_folder"]


def plan_folder(source: Path, target: Path, options: JobOptions) -> int:
    """Print each series of a folder that would be denoised: its size, and the folder and name of the new one.

    Returns
    -------
    int
        Exit code: 0 if there is something to do, 1 if every selected series is refused.

    Raises
    ------
    NSN2NError
        If there is no series to denoise, or the output is not writable.
    """
    selection = choose_series(source, options.selection_rules, options.series_uids)
    require_writable_folder(target)
    taken = series_numbers_by_study(selection)
    for study_uid, numbers in taken.items():
        numbers |= numbers_in(target, study_uid) if target.is_dir() else set()
    ready = 0
    for _, record in selection.selected:
        try:
            _print(*_plan(record, target, options, taken[record.StudyInstanceUID]))
            ready += 1
        except NSN2NError as error:
            _print(record.label, f"  refused: {error}")
    _print_settings(options.settings())
    return 0 if ready else 1


def _plan(record: SeriesRecord, target: Path, options: JobOptions, taken_series_numbers: set[int]) -> list[str]:
    with options.within_memory():
        geometry = inspect_series(record.files, refuse_gaps=options.refuse_gaps)
    derivation, header = options.derivation("-"), record.read_header()
    series = new_series(header, derivation, taken_series_numbers)
    taken_series_numbers.add(series.SeriesNumber)
    size = " x ".join(map(str, geometry.shape_dhw))
    raw = series_description(header, derivation.series_description_end)
    element = convert_raw_data_element(raw, encoding=header.original_character_set)
    return [
        record.label,
        f"  {size} voxels of {spacings(geometry)} mm (slices, rows, columns)",
        f"  to {target / '<new SeriesInstanceUID>'}, {len(record.files)} files,"
        f" {encoding(options.compression).transfer_syntax.name}",
        f'  as series {series.SeriesNumber} "{element.value}"',
    ]


def plan_file(source: Path, target: Path, options: JobOptions) -> int:
    """Print the files that would be written for a volume file.

    Raises
    ------
    NSN2NError
        If the file cannot be read as a volume, or the new one cannot be written.
    """
    new = new_files(source, target, options)
    with options.within_memory():
        volume = read_volume(source)
        stack = volume.stack
        if options.mask is not None:
            read_mask(options.mask, volume)
    require_writable_folder(new.volume.parent)
    _, height, width = stack.shape_dhw
    volumes = f"{len(stack.parts)} volumes of " if len(stack.parts) > 1 else ""
    size = f"  {volumes}{stack.parts[0]} x {height} x {width} voxels (slices, rows, columns)"
    beside = [f"  and {file}" for file in new.all if file != new.volume and (new.bids or file in new.maps.values())]
    _print(str(source), size, f"  to {new.volume}", *beside)
    _print_settings(options.settings())
    return 0


def _print_settings(settings: Settings) -> None:
    lines = yaml.safe_dump(settings.to_mapping(), sort_keys=False).splitlines()
    _print("settings", *(f"  {line}" for line in lines))


def _print(*lines: str) -> None:
    """Print lines without terminal control sequences."""
    for line in lines:
        typer.echo(visible(line))
