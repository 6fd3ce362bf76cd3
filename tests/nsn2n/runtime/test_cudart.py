# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Holoscan starts where no CUDA toolkit is installed.

The machine's own copy of the library, if there is one, is hidden: in a mount namespace of its own the command
sees empty folders in place of the toolkits and an empty cache of the loader.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
_HIDE = """
for toolkit in /usr/local/cuda*; do
    if [ -d "$toolkit" ] && [ ! -L "$toolkit" ]; then mount -t tmpfs none "$toolkit" || exit 99; fi
done
mount --bind /dev/null /etc/ld.so.cache || exit 99
exec "$@"
"""


def _run_without_toolkit(code: str, *python_options: str) -> subprocess.CompletedProcess[str]:
    """Run Python code where the loader finds no CUDA runtime by itself; skip where that is not possible."""
    environment = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]
    command = [*namespace, "bash", "-c", _HIDE, "bash", sys.executable, *python_options, "-c", code]
    try:
        result = subprocess.run(
            command, cwd=_ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
    except FileNotFoundError:
        pytest.skip("the CUDA toolkit cannot be hidden: no `unshare` here")
    if "unshare failed" in result.stderr or result.returncode == 99:
        pytest.skip(f"the CUDA toolkit cannot be hidden: {result.stderr.strip()}")
    return result


def test_holoscan_starts_without_a_toolkit():
    hidden = _run_without_toolkit("import ctypes; ctypes.CDLL('libcudart.so.13')")
    if hidden.returncode == 0:
        pytest.skip("libcudart.so.13 lies in a folder of the system that this test does not hide")

    result = _run_without_toolkit(
        "from nsn2n.runtime.cudart import preload_cudart\n"
        "preload_cudart(); preload_cudart()\n"
        "import holoscan.core\n"
        "print(holoscan.core.Application.__name__)"
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.strip() == "Application"


def test_missing_library_is_one_clear_line():
    # -S: no site-packages, so the package with the library is not installed as far as this process sees.
    result = _run_without_toolkit(
        f"import sys; sys.path.insert(0, {str(_ROOT)!r})\n"
        "from nsn2n.runtime.cudart import preload_cudart\n"
        "from nsn2n.errors import NSN2NError\n"
        "try:\n    preload_cudart()\nexcept NSN2NError as error:\n    print(error)",
        "-S",
    )

    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("Holoscan needs libcudart.so.13; neither the system nor the package")
    assert "pip install" in result.stdout
    assert result.stdout.count("\n") == 1


def test_the_loader_finds_the_library_afterwards():
    code = (
        "import ctypes; from nsn2n.runtime.cudart import preload_cudart; preload_cudart();"
        "ctypes.CDLL('libcudart.so.13')"
    )

    result = _run_without_toolkit(code)

    assert result.returncode == 0, result.stderr
