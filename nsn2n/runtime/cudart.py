# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Make ``libcudart.so.13`` findable before Holoscan is imported.

Holoscan is linked against the CUDA runtime and does not start without it, with or without a GPU. The package
``nvidia-cuda-runtime`` contains that library, but in a folder of site-packages that the dynamic loader does
not search. A library that is already in the process is found by its name: loading it by its path is enough.
"""

from __future__ import annotations

import ctypes
from importlib.metadata import PackageNotFoundError, files

from nsn2n.errors import NSN2NError

__all__ = ["preload_cudart"]

_LIBRARY = "libcudart.so.13"
_DISTRIBUTION = "nvidia-cuda-runtime"


def preload_cudart() -> None:
    """Load the CUDA runtime that Holoscan is linked against; call it before ``import holoscan``.

    If the dynamic loader finds the library by itself (a CUDA toolkit, ``LD_LIBRARY_PATH``, an earlier
    call), that one is used.

    Raises
    ------
    NSN2NError
        If the library is neither on the system nor in the installed ``nvidia-cuda-runtime``.
    """
    try:
        ctypes.CDLL(_LIBRARY, mode=ctypes.RTLD_GLOBAL)
    except OSError:
        path = _path_in_site_packages()
        try:
            ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
        except OSError as error:
            raise NSN2NError(f"Holoscan needs {_LIBRARY}; {path} cannot be loaded: {error}. {_CURE}") from error


_CURE = f"Install it again: pip install --force-reinstall '{_DISTRIBUTION}>=13,<14'."


def _path_in_site_packages() -> str:
    try:
        installed = files(_DISTRIBUTION) or []
    except PackageNotFoundError:
        installed = []
    for file in installed:
        if file.name == _LIBRARY:
            return str(file.locate())
    raise NSN2NError(f"Holoscan needs {_LIBRARY}; neither the system nor the package {_DISTRIBUTION} has it. {_CURE}")
