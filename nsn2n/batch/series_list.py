# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The series of a run: those of a folder, of the folders that a CSV file lists, or of a DICOMweb query.

In each of them series are chosen by the selection rules or by the named UIDs, as for a single folder.
"""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from pydicom.dataset import Dataset

from nsn2n.batch.dicomweb import Query, Server
from nsn2n.batch.task import FoundSeries, RemoteSeries
from nsn2n.dicom.attributes import PARSE_ERRORS, series_number, text, values
from nsn2n.dicom.headers import read_attributes
from nsn2n.dicom.input_limits import Limits
from nsn2n.dicom.selection.rules import Rules, Selection, default_rules, judge_header, load_rules
from nsn2n.dicom.selection.scan import SeriesRecord
from nsn2n.errors import DicomError, SettingsError
from nsn2n.jobs.dicom_job import choose_series, series_numbers_by_study
from nsn2n.jobs.options import JobOptions
from nsn2n.modality import Modality

__all__ = ["SeriesList", "find_series"]

logger = logging.getLogger(__name__)

FOLDER, SERIES = "folder", "SeriesInstanceUID"
"""Columns of a CSV file; the second one may be absent, or empty in a line."""

_URL = ("http://", "https://")

MOST_FILES = 50_000_000
"""Limits of a folder: a trial may have more files than a single study."""


@dataclass
class SeriesList:
    """The work of a run."""

    series: list[FoundSeries] = field(default_factory=list)
    """In the order of the source; each UID once."""
    numbers: dict[str, set[int]] = field(default_factory=dict)
    """Series numbers in use by StudyInstanceUID, including those of series that are left alone."""

    def add(self, selection: Selection) -> None:
        """Add the selected series of a folder."""
        for study, numbers in series_numbers_by_study(selection).items():
            self.numbers.setdefault(study, set()).update(numbers)
        self.series += [_of_record(record) for _, record in selection.selected]


def find_series(source: str, options: JobOptions) -> SeriesList:
    """Find the series of a source; pixels are not read.

    Parameters
    ----------
    source : str
        A folder, a CSV file, or the URL of a DICOMweb query.
    options : JobOptions

    Raises
    ------
    DicomError
        If the source holds no series to denoise, or a file is so damaged that its series is unknown.
    SettingsError
        If the CSV file or the URL is invalid.
    """
    if source.lower().startswith(_URL):
        return _of_query(Query(source), options)
    path = Path(source)
    if path.suffix.lower() == ".csv" and not path.is_dir():
        return _of_csv(path, options)
    found = SeriesList()
    found.add(choose_series(path, options.selection_rules, options.series_uids, Limits(files=MOST_FILES)))
    return found


def _of_record(record: SeriesRecord) -> FoundSeries:
    frames = 1
    with suppress(DicomError, OSError, *PARSE_ERRORS):
        frames = _whole(read_attributes(record.files[0], ["NumberOfFrames"], Limits()), "NumberOfFrames")
    return FoundSeries(
        record.StudyInstanceUID,
        record.SeriesInstanceUID,
        record.Modality,
        record.SeriesNumber,
        len(record.files) * frames * (record.Rows or 1) * (record.Columns or 1),
        record,
    )


def _whole(header: Dataset, keyword: str) -> int:
    """Return a count from a header; 1 if it has none."""
    found = values(header, keyword)[:1]
    return max(1, int(found[0])) if found else 1


def _of_csv(file: Path, options: JobOptions) -> SeriesList:
    wanted: dict[Path, list[str]] = {}
    for line, folder, uid in _lines(file):
        uids = wanted.setdefault(folder, [])
        if uids and (not uid or uid in uids or "" in uids):
            raise SettingsError(f"each series must be listed once; line {line} of {file} repeats one. Remove it.")
        uids.append(uid)
    rules, found = _rules(options), SeriesList()
    places: dict[str, Path] = {}
    for folder, uids in wanted.items():
        named = [uid for uid in uids if uid]
        if options.series_uids and named:
            raise SettingsError(f"series must be named in one place; got --series, and UIDs in {file}. Leave one out.")
        known = len(found.series)
        found.add(choose_series(folder, rules, named or options.series_uids, Limits(files=MOST_FILES)))
        for series in found.series[known:]:
            if places.setdefault(series.SeriesInstanceUID, folder) != folder:
                raise SettingsError(
                    f"each series must be listed once; {file} lists {series.SeriesInstanceUID} in"
                    f" {places[series.SeriesInstanceUID]} and in {folder}. Remove one of the two."
                )
    return found


def _lines(file: Path) -> Iterator[tuple[int, Path, str]]:
    """Yield line, folder and UID of each entry."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.DictReader(stream, strict=True)
            columns = rows.fieldnames or []
            if FOLDER not in columns or set(columns) - {FOLDER, SERIES}:
                raise SettingsError(
                    f"a list must begin with the line {FOLDER},{SERIES} or {FOLDER}; got"
                    f" {','.join(map(str, columns))[:80] or 'nothing'} in {file}. Add it."
                )
            none = True
            for row in rows:
                if None in row or not row[FOLDER]:
                    raise SettingsError(
                        f"each line of a list must hold a folder, and optionally a UID; line {rows.line_num} of {file}"
                        " does not. Correct it."
                    )
                none = False
                yield rows.line_num, file.parent / row[FOLDER].strip(), (row.get(SERIES) or "").strip()
            if none:
                raise SettingsError(f"a list must name a folder; {file} has none below its first line. Add one.")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else type(error).__name__
        raise SettingsError(
            f"a list must be a readable CSV file in UTF-8; got {reason} at {file}. Check the path and the file."
        ) from error


def _rules(options: JobOptions) -> Rules:
    return default_rules() if options.selection_rules is None else load_rules(options.selection_rules)


def _of_query(query: Query, options: JobOptions) -> SeriesList:
    server, rules, found = Server(query.root), _rules(options), SeriesList()
    wanted, missing = set(options.series_uids), set(options.series_uids)
    asked = 0
    for answer in server.series(query):
        asked += 1
        study_uid, uid = text(answer, "StudyInstanceUID") or query.study, text(answer, "SeriesInstanceUID")
        number = series_number(answer)
        if number is not None:
            found.numbers.setdefault(study_uid, set()).add(number)
        if (wanted and uid not in wanted) or text(answer, "Modality") not in tuple(Modality):
            continue
        missing.discard(uid)
        series = _judged(server, study_uid, uid, None if wanted else rules)
        if series is not None:
            found.series.append(series)
    if missing:
        raise DicomError(f"the server must have each named series; {query.root} lacks {', '.join(sorted(missing))}.")
    if not found.series:
        raise DicomError(
            f"at least one series of a query must be suitable for denoising; of {asked} that {query.root} found none"
            " is. Change the query, or name one by --series."
        )
    return found


def _judged(server: Server, study_uid: str, uid: str, rules: Rules | None) -> FoundSeries | None:
    """Check one image of a series; None if the rules leave the series alone."""
    instances = server.instances(study_uid, uid)
    if not instances:
        return None
    header = server.header(study_uid, uid, str(instances[0].SOPInstanceUID))
    pixels = _whole(header, "NumberOfFrames") * _whole(header, "Rows") * _whole(header, "Columns")
    series = FoundSeries(
        study_uid, uid, text(header, "Modality"), series_number(header), len(instances) * pixels,
        RemoteSeries(server.root, study_uid, uid),
    )  # fmt: skip
    if rules is not None:
        chosen, reason = judge_header(header, rules)
        if not chosen:
            logger.info("%s: left alone: %s", series.label, reason)
            return None
    return series
