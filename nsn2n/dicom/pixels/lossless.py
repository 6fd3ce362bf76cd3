# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The transfer syntaxes in which a derived series can be stored; all are lossless.

HTJ2K is not among them: no package that is required anyway encodes it.
"""

from __future__ import annotations

from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from nsn2n.dicom.attributes import PARSE_ERRORS, text
from nsn2n.errors import DicomError, SettingsError

__all__ = ["ENCODINGS", "Encoding", "compress", "encoding"]


class Encoding(NamedTuple):
    """A transfer syntax, and the pydicom encoder for it."""

    transfer_syntax: UID
    plugin: str = ""


ENCODINGS = {
    "none": Encoding(ExplicitVRLittleEndian),
    "rle": Encoding(RLELossless, "pydicom"),
    "jpeg-ls": Encoding(JPEGLSLossless, "pyjpegls"),
    "jpeg-2000": Encoding(JPEG2000Lossless, "pylibjpeg"),
}
"""By their names in the settings."""


def encoding(name: str) -> Encoding:
    """Look up an encoding.

    Raises
    ------
    SettingsError
        If there is none of that name.
    """
    if name not in ENCODINGS:
        raise SettingsError(f"compression must be one of {', '.join(ENCODINGS)}; got {name!r}.")
    return ENCODINGS[name]


def compress(dataset: Dataset, name: str) -> None:
    """Store the pixels of a dataset in another transfer syntax, in place.

    Parameters
    ----------
    dataset : Dataset
        With file meta information and native pixels.
    name : str
        A key of `ENCODINGS`.

    Raises
    ------
    DicomError
        If the encoder does not accept these pixels.
    """
    transfer_syntax, plugin = encoding(name)
    if transfer_syntax == dataset.file_meta.TransferSyntaxUID:
        return
    try:
        dataset.compress(transfer_syntax, encoding_plugin=plugin, generate_instance_uid=False)
    except (RuntimeError, *PARSE_ERRORS) as error:
        size = f"{text(dataset, 'Columns')} x {text(dataset, 'Rows')} pixels of {text(dataset, 'BitsStored')} bits"
        raise DicomError(
            f"pixels must fit {name}; its encoder refused {size}. Choose another compression, or none."
        ) from error
