# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NS-N2N: self-supervised denoising of one CT, MR or PET volume from that volume alone.

``nsn2n.denoise(volume)`` takes and returns arrays; ``nsn2n.dicom`` reads and writes series; ``nsn2n.operators`` and
``nsn2n.app`` are the MONAI Deploy operators and application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsn2n._version import __version__

if TYPE_CHECKING:
    from nsn2n.denoising import DenoiseResult, denoise
    from nsn2n.settings import Settings

__all__ = ["DenoiseResult", "Settings", "__version__", "denoise"]

_HOMES = {"DenoiseResult": "denoising", "denoise": "denoising", "Settings": "settings"}


def __getattr__(name: str) -> object:
    """Load the method on first use: reading headers or printing help must not wait for PyTorch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"nsn2n.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
