# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""NS-N2N: self-supervised denoising of one CT, MR or PET volume from that volume alone.

``nsn2n.denoise(volume)`` takes an array, or a `SliceStack` with all that is known of the volume; ``nsn2n.dicom`` reads
and writes series; ``nsn2n.operators`` and
``nsn2n.app`` are the MONAI Deploy operators and application.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nsn2n._version import __version__

if TYPE_CHECKING:
    from nsn2n.denoising import denoise
    from nsn2n.result import DenoiseResult
    from nsn2n.settings import Settings
    from nsn2n.stack.slice_stack import SliceStack

__all__ = ["DenoiseResult", "Settings", "SliceStack", "__version__", "denoise"]

_HOMES = {
    "DenoiseResult": "result", "Settings": "settings", "SliceStack": "stack.slice_stack", "denoise": "denoising",
}  # fmt: skip


def __getattr__(name: str) -> object:
    """Load the method on first use: reading headers or printing help must not wait for PyTorch."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(f"nsn2n.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
