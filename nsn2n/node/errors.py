# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Errors between the worker and Orthanc."""

from __future__ import annotations

from nsn2n.errors import NSN2NError

__all__ = ["OrthancError", "OrthancRefusalError", "OrthancUnavailableError", "StorageFullError"]


class OrthancError(NSN2NError):
    """Orthanc does not fulfill a request."""


class OrthancUnavailableError(OrthancError):
    """Orthanc does not respond, or has an internal problem; to be retried."""


class StorageFullError(OrthancUnavailableError):
    """Orthanc has no space for an instance."""


class OrthancRefusalError(OrthancError):
    """Orthanc refuses permanently; a retry would not help."""
