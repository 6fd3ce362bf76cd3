# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Scans a folder and lists the DICOM series in it, from headers alone."""

from __future__ import annotations

import logging
import os
import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.tag import Tag
from pydicom.uid import MediaStorageDirectoryStorage
from pydicom.valuerep import VR

from nsn2n.dicom.attributes import PARSE_ERRORS, one_line, refusal, series_number, text, values
from nsn2n.dicom.headers import LongHeaderError, Stop, read_attributes, read_header, unreadable
from nsn2n.dicom.image_kinds import IMAGE_CLASSES
from nsn2n.dicom.input_limits import Limits
from nsn2n.errors import DicomError
from nsn2n.runtime.paths import require_possible_path

__all__ = ["IgnoredFile", "Scan", "SeriesRecord", "scan_folder"]

logger = logging.getLogger(__name__)

KEYWORDS = (
    *("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID", "Modality"),
    *("SeriesNumber", "SeriesDescription", "ImageType", "Rows", "Columns"),
)
"""Attributes kept of each series; others may be large."""

PREFIX_BYTES = 132
"""Preamble and DICM (PS3.10 7.1)."""

HEAD_BYTES = 2048
"""How much of a file is examined if it is not known to be DICOM."""

GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"

PACKED = {
    GZIP: "is gzip-compressed",
    ZIP: "is a ZIP archive",
    b"BZh": "is bzip2-compressed",
    b"\xfd7zXZ\x00": "is xz-compressed",
    b"\x28\xb5\x2f\xfd": "is Zstandard-compressed",
    b"7z\xbc\xaf\x27\x1c": "is a 7z archive",
    b"Rar!\x1a\x07": "is a RAR archive",
}
"""First bytes of archives that may hold DICOM files, and a description."""

ZIP_SUFFIXES = ("", ".zip", ".dcm", ".ima")

KNOWN_VRS = frozenset(vr.value.encode() for vr in VR if len(vr.value) == 2)


@dataclass(frozen=True)
class IgnoredFile:
    """An ignored path, and why."""

    path: Path
    reason: str
    packed: bool = False
    """Whether it may hold slices that unpacking would make available."""


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
    """In the order of their paths, which is unrelated to the order of the slices."""
    Rows: int | None = None
    Columns: int | None = None

    def read_header(self) -> Dataset:
        """Read the attributes of the first file; they are not kept, since a folder may hold any number of series.

        Raises
        ------
        DicomError
            As for `nsn2n.dicom.headers.read_header`.
        """
        return read_header(self.files[0])

    @property
    def label(self) -> str:
        """Name of the series in messages: modality, number, description and UID."""
        number = "without number" if self.SeriesNumber is None else str(self.SeriesNumber)
        return one_line(f'{self.Modality or "?"} series {number} "{self.SeriesDescription}" ({self.SeriesInstanceUID})')


@dataclass(frozen=True)
class Scan:
    """The content of a folder."""

    folder: Path
    series: tuple[SeriesRecord, ...]
    """Sorted by study, series number and UID."""
    ignored: tuple[IgnoredFile, ...]


def scan_folder(folder: Path | str, limits: Limits | None = None) -> Scan:
    """Find all DICOM series below a folder; pixels are not read.

    Parameters
    ----------
    folder : path
        Searched with all its subfolders; links to folders are not followed.
    limits : Limits, optional
        What is refused before it takes time or memory.

    Raises
    ------
    DicomError
        If the folder does not exist, is not a folder or holds no DICOM series; if a DICOM file is so damaged
        that its series is unknown (it could be a slice of any of them, so it must not be skipped); if the folder is
        beyond the limits.
    NSN2NError
        If the path is too long for the file system.
    """
    folder, limits = Path(folder), limits or Limits()
    require_possible_path(folder)
    if not folder.is_dir():
        state = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DicomError(f"no DICOM found in {folder}: it {state}. Name the folder that holds the DICOM files.")
    ignored: list[IgnoredFile] = []
    first: dict[str, SeriesRecord] = {}
    files: dict[str, list[Path]] = defaultdict(list)
    for number, path in enumerate(_walk(folder, ignored)):
        if number >= limits.files:
            raise DicomError(
                f"a folder must hold {limits.files} files at most; {folder} holds more. Name the folder of one study."
            )
        record = _record(path, ignored, limits)
        if record is not None:
            first.setdefault(record.SeriesInstanceUID, record)
            files[record.SeriesInstanceUID].append(path)
    if not first:
        raise DicomError(_nothing_found(folder, ignored))
    records = [replace(record, files=tuple(files.pop(uid))) for uid, record in first.items()]
    records.sort(key=_record_order)
    packed = [entry for entry in ignored if entry.packed]
    if packed:
        listed = "; ".join(f"{entry.path}: {entry.reason}" for entry in packed[:3])
        logger.warning("%d archive files in %s may hold slices and are ignored: %s", len(packed), folder, listed)
    if ignored:
        listed = "; ".join(f"{entry.path}: {entry.reason}" for entry in ignored[:3])
        logger.info("%d entries of %s are not DICOM images and are ignored: %s ...", len(ignored), folder, listed)
    return Scan(folder, tuple(records), tuple(ignored))


def _walk(folder: Path, ignored: list[IgnoredFile]) -> Iterator[Path]:
    """Yield every regular file in sorted order; anything else is added to `ignored`."""

    pending = [folder]  # not recursive, since folders can be nested deeper than the recursion limit
    while pending:
        parent = pending.pop()
        try:
            entries = sorted(os.scandir(parent), key=lambda entry: entry.name)
        except OSError as error:
            ignored.append(IgnoredFile(parent, f"folder cannot be read ({type(error).__name__})"))
            continue
        subfolders = []
        for entry in entries:
            path = Path(entry.path)
            if not path.is_dir():  # the check of the entry fails on a link to itself
                if path.is_file():
                    yield path
                else:
                    reason = "broken link" if path.is_symlink() else "not a regular file"
                    ignored.append(IgnoredFile(path, reason))
            elif entry.is_symlink():
                ignored.append(IgnoredFile(path, "link to a folder, not followed"))
            else:
                subfolders.append(path)
                if path.suffix.lower() == ".dcm":
                    ignored.append(IgnoredFile(path, "folder with the name of a file; its content is searched"))
        pending += reversed(subfolders)


def _record(path: Path, ignored: list[IgnoredFile], limits: Limits) -> SeriesRecord | None:
    """Return the series of a file, from its header; None if it is ignored (the reason is added to `ignored`)."""
    try:
        header = _attributes(path, limits)
    except LongHeaderError:
        if text(read_attributes(path, ["SOPClassUID"], limits, _beyond("SOPClassUID")), "SOPClassUID") in IMAGE_CLASSES:
            raise
        ignored.append(IgnoredFile(path, "not an image, and its header is too long to be read"))
        return None
    except OSError as error:
        if error.errno is None:  # from pydicom, which failed inside a sequence
            raise unreadable(path, error) from error
        ignored.append(IgnoredFile(path, f"cannot be opened ({type(error).__name__})"))
        return None
    except InvalidDicomError:
        ignored.append(_no_dicom(path))
        return None
    except PARSE_ERRORS as error:
        raise unreadable(path, error) from error
    directory = (text(header.file_meta, "MediaStorageSOPClassUID"), text(header, "SOPClassUID"))
    if MediaStorageDirectoryStorage in directory:
        ignored.append(IgnoredFile(path, "DICOMDIR: an index of files, not an image"))
        return None
    uid = text(header, "SeriesInstanceUID")
    if not uid:
        raise refusal(
            "must have a value in every DICOM file; got none (the file may be truncated)",
            "Copy the file again, or take it out of the folder if it is not part of the study.",
            keyword="SeriesInstanceUID",
            path=path,
        )
    return SeriesRecord(
        StudyInstanceUID=text(header, "StudyInstanceUID"),
        SeriesInstanceUID=uid,
        Modality=text(header, "Modality"),
        SeriesNumber=series_number(header),
        SeriesDescription=text(header, "SeriesDescription"),
        SOPClassUID=text(header, "SOPClassUID"),
        ImageType=tuple(str(value) for value in values(header, "ImageType")),
        files=(path,),
        Rows=_count(header, "Rows"),
        Columns=_count(header, "Columns"),
    )


def _attributes(path: Path, limits: Limits) -> Dataset:
    """Read `KEYWORDS`, or those before the element that makes a header too long."""
    try:
        return read_attributes(path, KEYWORDS, limits)
    except LongHeaderError:
        return read_attributes(path, KEYWORDS, limits, _beyond("SeriesNumber"))


def _beyond(keyword: str) -> Stop:
    last = Tag(keyword)
    return lambda tag, vr, length: tag > last


def _count(header: Dataset, keyword: str) -> int | None:
    found = values(header, keyword)[:1]
    return found[0] if found and isinstance(found[0], int) else None


def _no_dicom(path: Path) -> IgnoredFile:
    """Classify a file without DICM prefix.

    Raises
    ------
    DicomError
        If it looks like a slice that lost its first 132 bytes, or whose DICM is damaged: that is still a slice, and
        without it there is a gap.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    packed = next((name for magic, name in PACKED.items() if head.startswith(magic)), "")
    if packed and _may_hold_dicom(head, path):
        return IgnoredFile(path, f"it {packed}: unpack it first", packed=True)
    if _begins_dataset(head) or _begins_dataset(head[PREFIX_BYTES:]):
        raise refusal(
            "a DICOM file must begin with 128 bytes and DICM; this looks like DICOM but has no DICM prefix",
            "Convert it to a DICOM file (for example with dcmconv), or remove it from the folder.",
            path=path,
        )
    return IgnoredFile(path, "not DICOM: no DICM prefix")


def _may_hold_dicom(head: bytes, path: Path) -> bool:
    """Whether an archive file may hold slices: not a NIfTI image, and not a document, which is also a ZIP archive."""
    if head.startswith(ZIP):
        return path.suffix.lower() in ZIP_SUFFIXES
    if not head.startswith(GZIP):
        return True
    try:
        inside = zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(head, HEAD_BYTES)
    except zlib.error:
        return False
    archive = inside[257:262] == b"ustar"
    return archive or inside[128:132] == b"DICM" or _begins_dataset(inside) or _begins_dataset(inside[PREFIX_BYTES:])


def _begins_dataset(data: bytes) -> bool:
    """Whether bytes look like the first element of file meta information or of a dataset."""
    if len(data) < 8 or data[:2] not in (b"\x02\x00", b"\x08\x00"):
        return False
    explicit = data[4:6] in KNOWN_VRS
    implicit = int.from_bytes(data[4:8], "little") <= 64 and data[3] == 0
    return explicit or implicit


def _record_order(record: SeriesRecord) -> tuple[str, bool, int, str]:
    number = record.SeriesNumber
    return (record.StudyInstanceUID, number is None, number or 0, record.SeriesInstanceUID)


def _nothing_found(folder: Path, ignored: list[IgnoredFile]) -> str:
    if not ignored:
        return f"no DICOM found in {folder}: it is empty. Name the folder that holds the DICOM files."
    shown = sorted(ignored, key=lambda entry: not entry.packed)
    first = "; ".join(f"{entry.path.name}: {entry.reason}" for entry in shown[:3])
    next_step = "Unpack them" if shown[0].packed else "Name the folder that holds the DICOM files"
    return f"no DICOM found in {folder}: {len(ignored)} entries, none a DICOM image ({first}). {next_step}."
