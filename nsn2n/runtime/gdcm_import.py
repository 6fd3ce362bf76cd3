# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Prevents GDCM from importing a user's folder as a Python module.

GDCM looks for a module named ``dl``, which Python 2 had, and uses whatever it finds. A folder ``dl`` in the working
directory is found too, and then pydicom, which imports GDCM, cannot be imported.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

__all__ = ["hide_dl_from_gdcm"]

_GDCM = ("gdcm", "_gdcm.gdcm")


class _HiddenFromGdcm:
    """The first finder; it affects only GDCM's import of ``dl``."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name == "dl":
            frame = sys._getframe()
            while frame is not None and not frame.f_globals.get("__name__", "").startswith(_GDCM):
                frame = frame.f_back  # type: ignore[assignment]
            if frame is not None:
                raise ModuleNotFoundError("Python has no module dl", name=name)
        return None


def hide_dl_from_gdcm() -> None:
    """Let GDCM's ``import dl`` find nothing; call it before pydicom is imported."""
    if _HiddenFromGdcm not in sys.meta_path:
        sys.meta_path.insert(0, _HiddenFromGdcm)
