# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Fetches the wheels that the image is built from; the only step that needs a network.

    python fetch_wheels.py wheels/cpu --python-version 3.11

Their versions and hashes are in a lock of the folder `lock`: pip refuses every other file. Further options go to
pip: another index, for example.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

LOCKS = Path(__file__).resolve().parent / "lock"
TOOLS = LOCKS / "tools.txt"

# Holoscan's wheel needs glibc 2.35, so every platform up to that will do.
OLDEST_GLIBC_MINOR, NEWEST_GLIBC_MINOR = 5, 35
PLATFORMS = ["manylinux1_x86_64", "manylinux2010_x86_64", "manylinux2014_x86_64", "linux_x86_64"]
PLATFORMS += [f"manylinux_2_{minor}_x86_64" for minor in range(OLDEST_GLIBC_MINOR, NEWEST_GLIBC_MINOR + 1)]
FOR_THE_IMAGE = ["--only-binary=:all:", *(f"--platform={platform}" for platform in PLATFORMS)]

CPU_BUILDS_OF_TORCH = "https://download.pytorch.org/whl/cpu"


def pip_download(folder: Path, python_version: str, what: list[str]) -> int:
    """Download for the Python of the image, which may differ from the running one.

    Parameters
    ----------
    folder : path
        Also a source: existing files are used.
    python_version : str
        Such as 3.11.
    what : list of str
        Requirements and options of pip. Of packages that they bring nothing is fetched.

    Returns
    -------
    int
        Exit code of pip.
    """
    command = [sys.executable, "-m", "pip", "download", "--dest", str(folder), "--find-links", str(folder), "--no-deps"]
    command += ["--python-version", python_version, *FOR_THE_IMAGE]
    return subprocess.run([*command, *what], check=False).returncode


def download_torch(folder: Path, python_version: str, gpu: bool, what: list[str]) -> int:
    """Download PyTorch alone, so that the index of its CPU builds is used for nothing else.

    That index is used if the default one has none.
    """
    code = pip_download(folder, python_version, what)
    if code and not gpu:
        code = pip_download(folder, python_version, [*what, "--index-url", CPU_BUILDS_OF_TORCH])
    return code


def fetch(folder: Path, python_version: str, gpu: bool, lock: Path, options: list[str]) -> int:
    """Download the packages of a lock, PyTorch first, and the build tools.

    Raises
    ------
    StopIteration
        If the lock does not name torch.
    """
    torch = next(line for line in lock.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as alone:
        alone.write(f"{torch}\n")
        alone.flush()
        code = download_torch(folder, python_version, gpu, ["--requirement", alone.name, *options])
    for file in (lock, TOOLS):
        code = code or pip_download(folder, python_version, ["--require-hashes", "--requirement", str(file), *options])
    return code


def main() -> int:
    """Replace the folder by a complete one."""
    parser = argparse.ArgumentParser(description="Fetch the wheels of a lock; other options go to pip.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--python-version", required=True, help="of the image, such as 3.11")
    parser.add_argument("--gpu", action="store_true", help="the CUDA build of PyTorch")
    parser.add_argument("--lock", type=Path, help="default: lock/cpu-VERSION.txt or lock/gpu-VERSION.txt beside this")
    arguments, options = parser.parse_known_args()
    variant = "gpu" if arguments.gpu else "cpu"
    lock = arguments.lock or LOCKS / f"{variant}-{arguments.python_version}.txt"
    if not lock.is_file():
        print(
            f"error: wheels are fetched by a lock; there is no {lock}. Make it with an interpreter of that version:"
            f" python3 -m map.lock {lock} --python-version {arguments.python_version}{' --gpu' * arguments.gpu}",
            file=sys.stderr,
        )
        return 1
    partial = arguments.folder.with_name(f"{arguments.folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    code = fetch(partial, arguments.python_version, arguments.gpu, lock, options)
    if code:
        print(
            "error: the wheels could not be fetched; see pip's messages above. See WHEELS in the Makefile.",
            file=sys.stderr,
        )
        return code
    shutil.rmtree(arguments.folder, ignore_errors=True)
    partial.rename(arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
