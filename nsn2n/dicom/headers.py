# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Reads headers, everything in a file but its pixels, with as little memory as possible.

Long private values are left in the file: they are never copied, and a raw data file, or a slice with raw data next to
its pixels, may hold gigabytes of them. All other bytes are counted while pydicom reads them.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.sequence import Sequence as DicomSequence
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian

from nsn2n.dicom.attributes import PARSE_ERRORS, refusal
from nsn2n.dicom.input_limits import CHUNK_BYTES, Limits, check_inflation
from nsn2n.dicom.private_attributes import CSA_HEADER, creators_of
from nsn2n.errors import DicomError

__all__ = ["LongHeaderError", "Stop", "kept_bytes", "read_attributes", "read_header", "unreadable"]

LONG_BYTES = 4096
"""Longer values are checked before they are read."""

UNASKED_BYTES = 2**20
"""There is always memory for a header this short; a check would take as long as reading it."""

LEAST_BYTES = 32
"""Size that the smallest piece read by pydicom counts as: many small pieces take far more memory than their bytes."""

ELEMENT_BYTES, PLACE_BYTES, DATASET_BYTES = 450, 100, 1600
"""Memory overhead of an element, of its entry in a dataset, and of a dataset."""

PIXEL_TAGS = frozenset(map(Tag, ("FloatPixelData", "DoubleFloatPixelData", "PixelData")))

UNDEFINED_LENGTH = 0xFFFFFFFF

DEFLATED, NOT_DEFLATED = (
    uid.encode().ljust(len(DeflatedExplicitVRLittleEndian), b"\0")
    for uid in (DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian)
)

Stop = Callable[[BaseTag, "str | None", int], bool]


class LongHeaderError(DicomError):
    """A header is longer than the limit."""


class _TooLongError(Exception):
    """The byte limit of a file is reached."""


class _Deflated(Exception):  # noqa: N818 - no error
    """The dataset of a file is deflated, and starts at an offset."""

    def __init__(self, start: int) -> None:
        super().__init__()
        self.start = start


class _CountedFile(io.BufferedReader):
    """A file that limits the number of bytes read from it."""

    def __init__(self, raw: io.FileIO | _Inflated, limits: Limits) -> None:
        super().__init__(raw)
        self._limits = limits
        self.most, self.why = min(limits.header_bytes, UNASKED_BYTES), ""
        self.left = self.most

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or size < 0:  # pydicom reads all the rest only to inflate it
            raise _Deflated(self.tell())
        if size > self.left:
            self._ask()
        data = super().read(size if size <= self.left else self.left + 1)
        self.left -= max(len(data), LEAST_BYTES)
        if self.left < 0:
            self._ask()
        return data

    def _ask(self) -> None:
        """Allow a longer header, up to what fits in memory."""
        before = self.most
        self.most, self.why = self._limits.most_of_header()
        self.left += self.most - before
        if self.left < 0:
            raise _TooLongError  # which pydicom may turn into another error


class _Inflated(io.BytesIO):
    """Bytes used instead of those of a file."""

    def __init__(self, data: bytes, name: str) -> None:
        super().__init__(data)
        self.name = name


def read_header(path: Path, limits: Limits | None = None) -> FileDataset:
    """Read all attributes of a file except its pixels, and what this program does not use.

    The latter are private sequences, and private values longer than `LONG_BYTES` except Siemens' CSA header of the
    image.

    Raises
    ------
    DicomError
        If the file cannot be opened or parsed, or would fill the memory (`nsn2n.dicom.input_limits`).
    """
    try:
        return _read(path, limits or Limits(), stop_at_pixels)
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise unreadable(path, error) from error


def read_attributes(path: Path, keywords: Sequence[str], limits: Limits, stop: Stop | None = None) -> FileDataset:
    """Read some short attributes of a file that precede its pixels.

    Parameters
    ----------
    path : Path
    keywords : sequence of str
    limits : Limits
    stop : callable, optional
        Decides from tag, value representation and length where to stop, by default at the pixels.

    Raises
    ------
    LongHeaderError
        If others in between are longer than the limit and cannot be skipped.
    DicomError
        If the file would fill the memory when it is inflated.
    OSError, InvalidDicomError
        If the file cannot be opened, or has no DICM prefix.
    Exception
        Of `PARSE_ERRORS`, if it is damaged.
    """
    return _read(path, limits, stop or stop_at_pixels, [Tag(keyword) for keyword in keywords])


def stop_at_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    """Tell pydicom to read no further."""
    return tag in PIXEL_TAGS


def unreadable(path: Path, error: Exception) -> DicomError:
    """Build the error for a file that cannot be opened or parsed."""
    return refusal(
        f"a DICOM file must be readable; got {type(error).__name__}",
        "Copy the file again, or remove it from the folder if it is not part of the study.",
        path=path,
    )


def _read(
    path: Path,
    limits: Limits,
    stop: Stop,
    tags: Sequence[BaseTag] = (),
) -> FileDataset:
    def read(file: _CountedFile) -> FileDataset:
        with file:
            try:
                header = read_partial(file, stop, LONG_BYTES, specific_tags=list(tags))
                _read_long_values(header, file, path)
            except Exception:
                if file.left >= 0:
                    raise
            if file.left >= 0:
                return header
        raise LongHeaderError(_too_long(path, file.most, file.why))

    try:
        return read(_CountedFile(io.FileIO(str(path)), limits))
    except _Deflated as deflated:
        check_inflation(path, deflated.start, limits)
        most, _ = limits.most_of_header()
        header = read(_CountedFile(_beginning(path, deflated.start, most), limits))
        header.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
        return header


def _too_long(path: Path, most: int, why: str) -> str:
    return str(
        refusal(
            f"the header of a DICOM file must not be longer than {most} bytes{why}, not counting long private values;"
            " it is",
            "Remove the file from the folder, or export it again without private attributes.",
            path=path,
        )
    )


def _beginning(path: Path, start: int, most: int) -> _Inflated:
    """Return the part of a deflated file that can be its header, as if it had not been deflated."""
    with path.open("rb") as file:
        data = bytearray(file.read(start).replace(DEFLATED, NOT_DEFLATED))
        inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        while len(data) <= start + most and (chunk := inflater.unconsumed_tail or file.read(CHUNK_BYTES)):
            data += inflater.decompress(chunk, CHUNK_BYTES)
    return _Inflated(bytes(data), str(path))


def _read_long_values(header: FileDataset, file: _CountedFile, path: Path) -> None:
    """Read the values that were skipped for their length, or omit them permanently."""
    for tag in list(header.keys()):
        element: DataElement | RawDataElement = header.get_item(tag, keep_deferred=True)
        if not isinstance(element, RawDataElement):
            if tag.is_private:
                del header[tag]
        elif element.value is not None or element.length == 0:
            continue
        elif tag.is_private and not _is_csa_header(tag, header):
            del header[tag]
        elif element.length == UNDEFINED_LENGTH:
            raise refusal(
                f"a long value that is not a sequence must have a defined length; ({tag.group:04X},{tag.element:04X}) "
                "does not",
                "Copy or export the file again.",
                path=path,
            )
        else:
            file.seek(element.value_tell)
            header[tag] = element._replace(value=file.read(element.length))


def _is_csa_header(tag: BaseTag, header: Dataset) -> bool:
    creator, group, element = CSA_HEADER
    if (tag.group, tag.element & 0xFF) != (group, element):
        return False
    return creators_of(header).get((group, tag.element >> 8)) == creator


def kept_bytes(*datasets: Dataset) -> int:
    """Estimate the total memory of datasets read from a file; frames share elements."""
    seen: set[int] = set()

    def of(dataset: Dataset) -> int:
        total = DATASET_BYTES
        for tag in dataset.keys():  # noqa: SIM118
            element = dataset.get_item(tag, keep_deferred=True)
            total += PLACE_BYTES
            if id(element) in seen:
                continue
            seen.add(id(element))
            total += ELEMENT_BYTES
            if isinstance(element.value, DicomSequence):
                total += sum(map(of, element.value))
            elif isinstance(element.value, bytes):
                total += len(element.value)
        return total

    return sum(map(of, datasets))
