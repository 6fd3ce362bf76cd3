# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Input and outcome of a worker for one series: plain values, and no pixels."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nsn2n._version import __version__
from nsn2n.dicom.selection.scan import SeriesRecord
from nsn2n.jobs.options import JobOptions
from nsn2n.runtime.memory import process_bytes

__all__ = ["FoundSeries", "RemoteSeries", "SeriesOutcome", "SeriesTask"]

_UID = re.compile(r"[0-9]+(\.[0-9]+)*")
_LONGEST_UID = 64


@dataclass(frozen=True)
class RemoteSeries:
    """A series on a DICOMweb server."""

    root: str
    """URL of the service."""
    StudyInstanceUID: str
    SeriesInstanceUID: str


@dataclass(frozen=True)
class FoundSeries:
    """A series to denoise, as far as its headers were read."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    Modality: str
    SeriesNumber: int | None
    voxels: int
    """Voxels of the whole series, from the header of one of its files."""
    source: SeriesRecord | RemoteSeries

    @property
    def label(self) -> str:
        """Name of the series in messages."""
        number = "without number" if self.SeriesNumber is None else str(self.SeriesNumber)
        return f"{self.Modality or '?'} series {number} ({self.SeriesInstanceUID})"


@dataclass(frozen=True, kw_only=True)
class SeriesTask:
    """One series with everything that a worker on any machine needs."""

    series: FoundSeries
    output: Path
    """Output folder of the run; each series has a separate folder below it."""
    options: JobOptions
    taken_series_numbers: frozenset[int] = frozenset()
    """Numbers of the study that the new series may not take."""
    cpus: int = 1
    """Threads of the worker."""
    version: str = __version__
    """Version of the program that started the run: all workers must have the same."""

    @property
    def folder(self) -> Path:
        """Folder of the complete new series, named by the UIDs of its source."""
        return self.output / _name(self.series.StudyInstanceUID) / _name(self.series.SeriesInstanceUID)

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of a worker for it."""
        needed, limit = process_bytes(self.series.voxels, self.cpus), self.options.memory_bytes()
        return needed if limit is None else min(needed, limit)


@dataclass(frozen=True, kw_only=True)
class SeriesOutcome:
    """The outcome of a series in a worker."""

    error: str | None = None
    """One line; None if all went well."""
    verdict: str = ""
    """Verdict of the structure check: pass, review, fail; empty if it was not reached."""
    seconds: float = 0.0
    peak_bytes: int = 0
    host: str = ""
    remarks: tuple[str, ...] = ()
    """Warnings of the job."""
    report: str = ""
    """The page of the quality report, relative to the folder of the series; empty if there is none."""
    version: str = __version__


def _name(uid: str) -> str:
    """Return a UID as the name of a folder; anything else, which may be a path to elsewhere, as its digest."""
    if len(uid) <= _LONGEST_UID and _UID.fullmatch(uid):
        return uid
    return f"not-a-uid-{hashlib.sha256(uid.encode()).hexdigest()[:32]}"
