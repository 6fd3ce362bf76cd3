# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the wheels that the image is built from; the only step that needs a network.

    python fetch_wheels.py wheels/cpu --python-version 3.11

Further options go to pip: another index, for example.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Holoscan's wheel needs glibc 2.35, so every platform up to that will do.
OLDEST_GLIBC_MINOR, NEWEST_GLIBC_MINOR = 5, 35
PLATFORMS = ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
PLATFORMS += [f"manylinux_2_{minor}_x86_64" for minor in range(OLDEST_GLIBC_MINOR, NEWEST_GLIBC_MINOR + 1)]


CPU_BUILDS_OF_TORCH = "https://download.pytorch.org/whl/cpu"


def pip_download(folder: Path, python_version: str, what: list[str]) -> int:
    """Download for the Python of the image, which may differ from the one at hand.

    Parameters
    ----------
    folder : path
        Also a source: what is there is taken.
    python_version : str
        Such as 3.11.
    what : list of str
        Requirements and options of pip.

    Returns
    -------
    int
        Exit code of pip.
    """
    command = [sys.executable, "-m", "pip", "download", "--dest", str(folder), "--find-links", str(folder)]
    command += ["--only-binary=:all:", "--python-version", python_version]
    command += [f"--platform={platform}" for platform in PLATFORMS]
    return subprocess.run([*command, *what], check=False).returncode


def fetch(folder: Path, python_version: str, gpu: bool, options: list[str]) -> int:
    """Download PyTorch's build first, so that its own index is asked for nothing else, then the rest.

    Raises
    ------
    StopIteration
        If requirements.txt does not name torch.
    """
    requirements = ROOT / "requirements.txt"
    torch = next(line for line in requirements.read_text().splitlines() if line.startswith("torch=="))
    torch += "" if gpu else "+cpu"
    code = pip_download(folder, python_version, [torch, "--no-deps", *options])
    if code and not gpu:
        code = pip_download(folder, python_version, [torch, "--no-deps", "--index-url", CPU_BUILDS_OF_TORCH, *options])
    if gpu and not code and list(folder.glob("torch-*+cpu-*")):
        # Of builds of one version pip takes that with a suffix, so it must not see the CPU build.
        print("error: the GPU image needs the CUDA build of PyTorch; pip found a CPU build.", file=sys.stderr)
        return 1
    # pip installs the rest in an image that has no installer.
    return code or pip_download(folder, python_version, ["--requirement", str(requirements), torch, "pip", *options])


def main() -> int:
    """Replace the folder by a complete one."""
    parser = argparse.ArgumentParser(description="Fetch the wheels of requirements.txt; other options go to pip.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python-version", required=True, help="of the image, such as 3.11")
    parser.add_argument("--gpu", action="store_true", help="the CUDA build of PyTorch")
    arguments, options = parser.parse_known_args()
    partial = arguments.folder.with_name(f"{arguments.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    code = fetch(partial, arguments.python_version, arguments.gpu, options)
    if code:
        print(
            "error: the wheels could not be fetched; pip says why above. See WHEELS in the Makefile.", file=sys.stderr
        )
        return code
    shutil.rmtree(arguments.folder, ignore_errors=True)
    partial.rename(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
