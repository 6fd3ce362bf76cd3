# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Files other than DICOM. This module checks names without importing nibabel or SimpleITK."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["FILE_SUFFIXES", "FORMATS", "NIFTI_SUFFIXES", "format_of", "suffix_of"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")
"""Suffixes of NIfTI files."""

FORMATS: Mapping[str, tuple[str, ...]] = {
    "NIfTI": NIFTI_SUFFIXES,
    "MGH": (".mgz", ".mgh"),
    "NRRD": (".nrrd",),
    "MetaImage": (".mha", ".mhd"),
}
"""The formats that are read and written, with the suffixes of their files."""

FILE_SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)


def suffix_of(path: Path | str) -> str:
    """Return which of `FILE_SUFFIXES` a name ends in; empty if it is none of them."""
    return next((suffix for suffix in FILE_SUFFIXES if str(path).endswith(suffix)), "")


def format_of(path: Path | str) -> str | None:
    """Return the format implied by a name; None if it is none of `FORMATS`."""
    suffix = suffix_of(path)
    return next((name for name, suffixes in FORMATS.items() if suffix in suffixes), None)
