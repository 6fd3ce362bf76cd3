# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Looks through a folder and says which DICOM series lie in it, from headers alone."""

from __future__ import annotations

import logging
import os
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import MediaStorageDirectoryStorage
from pydicom.valuerep import VR

from nsn2n.dicom.attributes import PARSE_ERRORS, refusal, series_number, text, values
from nsn2n.errors import DicomError

__all__ = ["IgnoredFile", "Scan", "SeriesRecord", "read_header", "scan_folder"]

logger = logging.getLogger(__name__)

GROUPING_TAGS = ["SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"]

KNOWN_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)


@dataclass(frozen=True)
class IgnoredFile:
    """A path that takes no part, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class SeriesRecord:
    """One series as found in a folder; attributes are those of its first file."""

    StudyInstanceUID: str
    SeriesInstanceUID: str
    Modality: str
    SeriesNumber: int | None
    SeriesDescription: str
    SOPClassUID: str
    ImageType: tuple[str, ...]
    files: tuple[Path, ...]
    """In the order of their paths, which says nothing about the order of the slices."""
    header: Dataset = field(repr=False, compare=False)
    """All attributes of the first file but its pixels."""

    @property
    def label(self) -> str:
        """How messages name the series: modality, number, description and UID."""
        number = "without number" if self.SeriesNumber is None else str(self.SeriesNumber)
        return f'{self.Modality or "?"} series {number} "{self.SeriesDescription}" ({self.SeriesInstanceUID})'


@dataclass(frozen=True)
class Scan:
    """What lies in a folder."""

    folder: Path
    series: tuple[SeriesRecord, ...]
    """Sorted by study, series number and UID."""
    ignored: tuple[IgnoredFile, ...]


def scan_folder(folder: Path | str) -> Scan:
    """Find all DICOM series below a folder; pixels are not read.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders; links to folders are not followed.

    Raises
    ------
    DicomError
        If the folder does not exist, is not a folder or holds no DICOM series; if a DICOM file is so damaged
        that its series is unknown (it could be a slice of any of them, so it must not be passed over).
    """
    folder = Path(folder)
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DicomError(f"no DICOM found in {folder}: it {state}. Name the folder that holds the DICOM files.")
    ignored: list[IgnoredFile] = []
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in _walk(folder, ignored):
        series_uid = _series_of(path, ignored)
        if series_uid:
            groups[series_uid].append(path)
    if not groups:
        raise DicomError(_nothing_found(folder, ignored))
    records = [_record(files) for files in groups.values()]
    records.sort(key=_record_order)
    if ignored:
        listed = "; ".join(f"{entry.path}: {entry.reason}" for entry in ignored[:3])
        logger.info("%d entries of %s are no DICOM images and take no part: %s ...", len(ignored), folder, listed)
    return Scan(folder, tuple(records), tuple(ignored))


def read_header(path: Path) -> Dataset:
    """Read all attributes of a file but its pixels.

    Raises
    ------
    DicomError
        If the file cannot be opened or parsed.
    """
    try:
        return pydicom.dcmread(path, stop_before_pixels=True)
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> DicomError:
    return refusal(
        f"a DICOM file must be readable; got {type(error).__name__}",
        "Copy the file again, or take it out of the folder if it is not part of the study.",
        path=path,
    )


def _walk(folder: Path, ignored: list[IgnoredFile]) -> Iterator[Path]:
    """Every regular file in sorted order; what cannot be one goes to `ignored`."""

    def note(error: OSError) -> None:
        ignored.append(IgnoredFile(Path(error.filename), f"folder cannot be read ({type(error).__name__})"))

    for parent, subfolders, names in os.walk(folder, onerror=note):
        subfolders.sort()
        for name in subfolders:
            path = Path(parent, name)
            if path.is_symlink():
                ignored.append(IgnoredFile(path, "link to a folder, not followed"))
            elif path.suffix.lower() == ".dcm":
                ignored.append(IgnoredFile(path, "folder with the name of a file; its content is searched"))
        for name in sorted(names):
            path = Path(parent, name)
            if path.is_file():
                yield path
            else:
                reason = "broken link" if path.is_symlink() else "not a regular file"
                ignored.append(IgnoredFile(path, reason))


def _series_of(path: Path, ignored: list[IgnoredFile]) -> str | None:
    """SeriesInstanceUID of a file, or None if it takes no part (then the reason is added to `ignored`)."""
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(GROUPING_TAGS))
    except OSError as error:
        ignored.append(IgnoredFile(path, f"cannot be opened ({type(error).__name__})"))
        return None
    except InvalidDicomError:
        _refuse_missing_prefix(path)
        ignored.append(IgnoredFile(path, "not DICOM: no DICM prefix"))
        return None
    except PARSE_ERRORS as error:
        raise _unreadable(path, error) from error
    directory = (header.file_meta.get("MediaStorageSOPClassUID"), header.get("SOPClassUID"))
    if MediaStorageDirectoryStorage in directory:
        ignored.append(IgnoredFile(path, "DICOMDIR: an index of files, not an image"))
        return None
    uid = text(header, "SeriesInstanceUID")
    if not uid:
        raise refusal(
            "must have a value in every DICOM file; got none (is the file cut short?)",
            "Copy the file again, or take it out of the folder if it is not part of the study.",
            keyword="SeriesInstanceUID",
            path=path,
        )
    return uid


def _refuse_missing_prefix(path: Path) -> None:
    """A slice that lost its first 132 bytes is still a slice: passing it over would leave a hole."""
    with path.open("rb") as file:
        head = file.read(8)
    if len(head) < 8 or head[:2] not in (b"\x02\x00", b"\x08\x00"):
        return
    explicit = head[4:6] in KNOWN_VRS
    implicit = int.from_bytes(head[4:8], "little") <= 64 and head[3] == 0
    if explicit or implicit:
        raise refusal(
            "a DICOM file must begin with 128 bytes and DICM; this looks like DICOM but has no DICM prefix",
            "Convert it to a DICOM file (for example with dcmconv), or take it out of the folder.",
            path=path,
        )


def _record(files: list[Path]) -> SeriesRecord:
    header = read_header(files[0])
    return SeriesRecord(
        StudyInstanceUID=text(header, "StudyInstanceUID"),
        SeriesInstanceUID=text(header, "SeriesInstanceUID"),
        Modality=text(header, "Modality"),
        SeriesNumber=series_number(header),
        SeriesDescription=text(header, "SeriesDescription"),
        SOPClassUID=text(header, "SOPClassUID"),
        ImageType=tuple(str(value) for value in values(header, "ImageType")),
        files=tuple(files),
        header=header,
    )


def _record_order(record: SeriesRecord) -> tuple[str, bool, int, str]:
    number = record.SeriesNumber
    return (record.StudyInstanceUID, number is None, number or 0, record.SeriesInstanceUID)


def _nothing_found(folder: Path, ignored: list[IgnoredFile]) -> str:
    if not ignored:
        return f"no DICOM found in {folder}: it is empty. Name the folder that holds the DICOM files."
    first = "; ".join(f"{entry.path.name}: {entry.reason}" for entry in ignored[:3])
    return (
        f"no DICOM found in {folder}: {len(ignored)} entries, none a DICOM image ({first}). "
        "Name the folder that holds the DICOM files."
    )
