# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""What can go wrong between the worker and Orthanc."""

from __future__ import annotations

from nsn2n.errors import NSN2NError

__all__ = ["OrthancError", "OrthancRefusalError", "OrthancUnavailableError", "StorageFullError"]


class OrthancError(NSN2NError):
    """Orthanc does not do what was asked for."""


class OrthancUnavailableError(OrthancError):
    """Orthanc does not answer, or has trouble of its own; to be tried again."""


class StorageFullError(OrthancUnavailableError):
    """Orthanc has no room for an instance."""


class OrthancRefusalError(OrthancError):
    """Orthanc will not do it the next time either."""
