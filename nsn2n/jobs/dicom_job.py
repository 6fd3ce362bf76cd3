# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A whole folder: choose series, read, denoise and write each, and go on where one fails."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nsn2n.dicom.read.series_reader import read_series
from nsn2n.dicom.select.rules import Rules, Selection, default_rules, select_series
from nsn2n.dicom.select.scan import SeriesRecord, scan_folder
from nsn2n.dicom.write.series_writer import WrittenSeries, write_series
from nsn2n.errors import DicomError, NSN2NError
from nsn2n.jobs.companions import write_companions
from nsn2n.jobs.options import OutputOptions
from nsn2n.jobs.report_output import write_quality_report
from nsn2n.runtime.memory import memory_errors
from nsn2n.runtime.paths import require_writable_folder
from nsn2n.structure_check import require_noise

if TYPE_CHECKING:
    from nsn2n.denoising import DenoiseResult

__all__ = ["Outcome", "denoise_folder", "select_in", "series_numbers_by_study"]

logger = logging.getLogger(__name__)

Denoise = Callable[..., "DenoiseResult"]
"""Takes the volume and the keywords `spacing_mm`, `parts`, `shear_px`, `modality`, `exclude` and `progress` of
`nsn2n.denoise`."""

SeriesProgress = Callable[[SeriesRecord, float, float], None]
"""Takes the series in work, the fraction of it that is done, and the seconds left."""


@dataclass(frozen=True)
class Outcome:
    """What became of one selected series: `written` or `error` is set, neither if it was not tried."""

    record: SeriesRecord
    written: WrittenSeries | None = None
    error: NSN2NError | None = None


def denoise_folder(
    input_folder: Path | str,
    output_folder: Path | str,
    denoise: Denoise,
    *,
    rules: Rules | None = None,
    series_uids: Sequence[str] = (),
    options: OutputOptions | None = None,
    strict: bool = False,
    refuse_gaps: bool = False,
    progress: SeriesProgress | None = None,
) -> list[Outcome]:
    """Denoise every selected series of a folder and write the derived ones.

    Parameters
    ----------
    input_folder : path
        Searched with all its subfolders.
    output_folder : path
        Made if absent; each derived series goes into a subfolder named by its UID.
    denoise : callable
        `nsn2n.denoise` with its settings filled in; a parameter, so that headers can be judged before
        PyTorch is loaded.
    rules : Rules, optional
        By default those of the model bundle.
    series_uids : sequence of str, optional
        Exactly these series, in place of rules.
    options : OutputOptions, optional
        Names and encoding of the new series.
    strict : bool
        Stop at the first series that fails; otherwise the others go on.
    refuse_gaps : bool
        Refuse a series of which slices are missing or unevenly spaced, in place of denoising its even runs apart.
    progress : callable, optional
        Called with the series, the fraction of it that is done, and the seconds left for it.

    Returns
    -------
    list of Outcome
        One for each selected series, in the order of the scan. A series that fails is logged as an error and
        leaves nothing in `output_folder`.

    Raises
    ------
    DicomError
        If the input holds no series to denoise, or a named series is not there.
    NSN2NError
        If the output cannot be a folder.
    """
    output = Path(output_folder)
    selection = select_in(input_folder, rules, series_uids)
    require_writable_folder(output)
    options = options or OutputOptions()
    taken = series_numbers_by_study(selection)
    outcomes: list[Outcome] = []
    for _, record in selection.selected:
        if strict and outcomes and outcomes[-1].written is None:
            outcomes.append(Outcome(record))
            continue
        logger.info("%s: %d files", record.label, len(record.files))
        numbers = taken[record.StudyInstanceUID]
        try:
            with memory_errors(record.label):
                written = _denoise_series(record, output, denoise, options, numbers, refuse_gaps, progress)
        except NSN2NError as error:
            details = error if logger.isEnabledFor(logging.DEBUG) else None
            logger.error("%s: %s", record.label, error, exc_info=details)
            outcomes.append(Outcome(record, error=error))
        else:
            numbers.add(written.SeriesNumber)
            outcomes.append(Outcome(record, written=written))
    return outcomes


def select_in(input_folder: Path | str, rules: Rules | None = None, series_uids: Sequence[str] = ()) -> Selection:
    """Choose the series of a folder as `denoise_folder` does, and log why the others are not.

    Raises
    ------
    DicomError
        If there is none to denoise, or a named series is not there.
    """
    selection = select_series(scan_folder(input_folder), rules or default_rules(), series_uids)
    for alone in selection.left_alone:
        logger.info("%s", alone.reason)
    if not selection.selected:
        raise DicomError(
            f"at least one series of {input_folder} must be one to denoise; none of {len(selection.left_alone)} is. "
            "Name one by its UID, or see `nsn2n info` for the reasons."
        )
    return selection


def _denoise_series(
    record: SeriesRecord,
    output: Path,
    denoise: Denoise,
    options: OutputOptions,
    taken_series_numbers: Collection[int],
    refuse_gaps: bool,
    progress: SeriesProgress | None,
) -> WrittenSeries:
    series = read_series(record.files, refuse_gaps=refuse_gaps)
    keywords: dict[str, Any] = {}
    if progress is not None:
        keywords["progress"] = lambda fraction, seconds_left: progress(record, fraction, seconds_left)
    result = denoise(
        series.volume_dhw,
        spacing_mm=series.geometry.spacings_mm,
        parts=series.parts,
        shear_px=series.geometry.shears_px,
        modality=series.modality,
        exclude=series.padding_mask_dhw,
        **keywords,
    )
    logger.info("%s: %s", record.label, result.summary())
    require_noise(result.structure.record, force=options.force)
    written = write_series(
        result.volume,
        series.files,
        output,
        options.derivation(result.summary()),
        options=options.write_options(taken_series_numbers),
    )
    write_companions(output, written, series.files, result.record, options, taken_series_numbers)
    if options.report:
        from nsn2n.report import collect_report  # with PyTorch and what draws

        data = collect_report(series.volume_dhw, result, spacing_mm=series.geometry.spacings_mm[0])
        write_quality_report(output, data, written, record.SeriesInstanceUID)
    return written


def series_numbers_by_study(selection: Selection) -> dict[str, set[int]]:
    """Numbers in use, which no derived series of the study may get."""
    records = [record for _, record in selection.selected] + [record for record, _ in selection.left_alone]
    numbers: dict[str, set[int]] = {}
    for record in records:
        of_study = numbers.setdefault(record.StudyInstanceUID, set())
        if record.SeriesNumber is not None:
            of_study.add(record.SeriesNumber)
    return numbers
