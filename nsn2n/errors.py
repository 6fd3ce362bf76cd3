# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The errors a user can meet. Each message is one line that says what must hold, what was found, where, and what to do.

A message may name files, tags and UIDs; it never holds a patient's name, id or birth date.
"""

from __future__ import annotations

__all__ = ["DicomError", "NSN2NError", "SettingsError", "VolumeError"]


class NSN2NError(Exception):
    """Base of every error that a user can act on; programs print ``str(error)`` and exit with a code that is not 0."""


class SettingsError(NSN2NError, ValueError):
    """A setting is unknown or out of its bounds."""


class VolumeError(NSN2NError, ValueError):
    """An array cannot be denoised (shape, dtype or values)."""


class DicomError(NSN2NError):
    """A DICOM file or series cannot be read, taken as a volume, or written."""
