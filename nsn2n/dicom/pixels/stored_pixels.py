# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The stored pixels of a series, slice by slice: of a multi-frame file one frame at a time is in memory."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag
from pydicom.uid import DeflatedExplicitVRLittleEndian

from nsn2n.dicom.attributes import PARSE_ERRORS, refusal
from nsn2n.dicom.headers import read_header, unreadable
from nsn2n.dicom.pixels.pixel_codecs import CODECS, transfer_syntax
from nsn2n.dicom.pixels.pixel_format import PIXEL_TAGS, stored_values
from nsn2n.dicom.slice_facts import SliceFacts
from nsn2n.errors import DicomError

__all__ = ["frame_datasets", "read_image", "read_stored"]

Stored = NDArray[np.int32]

PIXEL_DATA = Tag("PixelData")

DEFERRED_BYTES = 64
"""Values longer than this are read from the file when they are needed."""


def read_stored(slices: Sequence[SliceFacts]) -> Iterator[tuple[int, Stored]]:
    """Decode the stored values of slices, in the order that suits their files.

    Parameters
    ----------
    slices : sequence of SliceFacts

    Yields
    ------
    index : int
        Index of the slice among the given ones.
    stored_hw : array, shape (H, W), int32

    Raises
    ------
    DicomError
        If a file cannot be read, or its pixels contradict its attributes (`nsn2n.dicom.pixels.pixel_format`).
    """
    numbered = sorted(enumerate(slices), key=lambda entry: (str(entry[1].path), entry[1].frame or 0))
    for path, group in groupby(numbered, key=lambda entry: entry[1].path):
        places = list(group)
        if places[0][1].frame is None:
            for index, facts in places:
                yield index, stored_values(_pixels(path), facts.pixels, path)
        else:
            frames = {facts.frame: (index, facts) for index, facts in places}
            for number, dataset in enumerate(frame_datasets(path, [facts for _, facts in places])):
                index, facts = frames[number]
                yield index, stored_values(dataset, facts.pixels, facts.label)


def frame_datasets(path: Path, frames: Sequence[SliceFacts]) -> Iterator[Dataset]:
    """Yield each frame of a multi-frame file, in order, as a single-frame dataset with its pixels.

    Parameters
    ----------
    path : Path
    frames : sequence of SliceFacts
        All frames of the file.
    """
    try:
        dataset = _read(path)
        with _pixel_bytes(path, dataset) as (buffer, length):
            for facts, value in zip(frames, _frames(buffer, length, dataset, frames), strict=True):
                single = _pixel_attributes(facts)
                single.PixelData = value
                yield single
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise unreadable(path, error) from error


def read_image(path: Path) -> FileDataset:
    """Read what `nsn2n.dicom.headers.read_header` reads, and PixelData, the latter only on access.

    Raises
    ------
    DicomError
        If the file cannot be opened or parsed, or would fill the memory.
    """
    image = read_header(path)
    # Offsets in a deflated file are not those in its dataset.
    deferred = transfer_syntax(image) != DeflatedExplicitVRLittleEndian
    try:
        pixels = _read(path).get_item(PIXEL_DATA, keep_deferred=deferred)
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise unreadable(path, error) from error
    if pixels is not None:
        image[PIXEL_DATA] = pixels
    return image


class _pixel_bytes:  # noqa: N801 - a context manager
    """Return a file positioned at the value of PixelData, and its length (-1: delimited)."""

    def __init__(self, path: Path, dataset: Dataset) -> None:
        element: Any = dataset.get_item("PixelData", keep_deferred=True) if "PixelData" in dataset else None
        if not isinstance(element, RawDataElement):
            raise refusal("must be present; got none", "Copy or export the file again.", keyword="PixelData", path=path)
        self._file: BinaryIO
        self._length: int
        if (
            transfer_syntax(dataset) == DeflatedExplicitVRLittleEndian
        ):  # offsets in the file are not those in the dataset
            value = _read(path).PixelData
            self._file, self._length = io.BytesIO(value), len(value)
            return
        self._file = path.open("rb")
        self._file.seek(element.value_tell)
        self._length = -1 if element.length == 0xFFFFFFFF else element.length

    def __enter__(self) -> tuple[BinaryIO, int]:
        return self._file, self._length

    def __exit__(self, *_error: object) -> None:
        self._file.close()


def _frames(buffer: BinaryIO, length: int, dataset: Dataset, frames: Sequence[SliceFacts]) -> Iterator[bytes]:
    if transfer_syntax(dataset) in CODECS:
        encoded = generate_frames(buffer, number_of_frames=len(frames))
        for facts in frames:
            value = next(encoded, None)
            if value is None:
                raise _wrong_length(f"{facts.frame} frames", len(frames), facts)
            yield encapsulate([value])
        if next(encoded, None) is not None:
            raise _wrong_length("more frames", len(frames), frames[-1])
        return
    size = frames[0].pixels.byte_count
    needed = len(frames) * size
    # A padding byte and others may follow, but no further frame.
    if not (needed <= length < needed + size or length == needed + needed % 2):
        raise _wrong_length(f"{length} bytes", len(frames), frames[-1])
    for _ in frames:
        yield buffer.read(size)


def _wrong_length(found: str, frames: int, facts: SliceFacts) -> DicomError:
    height, width = facts.pixels.shape_hw
    return refusal(
        f"must hold {frames} frames of {height} x {width} pixels, {frames * facts.pixels.byte_count} bytes"
        f" uncompressed; got {found}",
        "Copy or export the file again.",
        keyword="PixelData",
        path=facts.path,
        header=facts.header,
    )


def _pixel_attributes(facts: SliceFacts) -> Dataset:
    """Return what `stored_values` needs of a frame except its pixels."""
    single = Dataset()
    single.file_meta = facts.header.file_meta
    single.set_original_encoding(*facts.header.original_encoding)
    for keyword in PIXEL_TAGS:
        if keyword in facts.header:
            single[keyword] = facts.header[keyword]
    return single


def _pixels(path: Path) -> Dataset:
    try:
        return _read(path)
    except (OSError, InvalidDicomError, *PARSE_ERRORS) as error:
        raise unreadable(path, error) from error


def _read(path: Path) -> FileDataset:
    """Read `PIXEL_TAGS`, long values only on access; others, possibly raw data, are not read."""
    with open(str(path), "rb") as file:  # as text: pydicom opens it again by this name
        return read_partial(file, _beyond_pixels, DEFERRED_BYTES, specific_tags=[Tag(key) for key in PIXEL_TAGS])


def _beyond_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return bool(tag > PIXEL_DATA)
