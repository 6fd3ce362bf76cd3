# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a lock: the exact version and the hash of every package that requirements.txt installs in the image.

    python -m map.lock map/lock/cpu-3.11.txt --python-version 3.11

An interpreter of that version is needed: pip evaluates environment markers for the one that it runs in. Further
options go to pip; `--no-index --find-links FOLDER` locks local wheels. `make lock` renews all locks.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from map.fetch_wheels import FOR_THE_IMAGE, download_torch

ROOT = Path(__file__).resolve().parents[1]


def resolve(python: str, what: list[str]) -> list[str]:
    """Have pip resolve versions, as for an empty environment.

    Parameters
    ----------
    python : str
        Path of the interpreter to choose for.
    what : list of str
        Requirements and options of pip.

    Returns
    -------
    list of str
        Lines of a requirements file, sorted by name: each a version and the hash of its wheel.

    Raises
    ------
    subprocess.CalledProcessError
        If pip fails; the reason is on stderr.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        command = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", *FOR_THE_IMAGE]
        command += ["--dry-run", "--ignore-installed", "--target", folder, "--report", str(report), *what]
        subprocess.run(command, check=True)
        chosen = json.loads(report.read_text(encoding="utf-8"))["install"]
    lines = []
    for one in chosen:
        name = re.sub(r"[-_.]+", "-", one["metadata"]["name"]).lower()
        version, sha256 = one["metadata"]["version"], one["download_info"]["archive_info"]["hashes"]["sha256"]
        # The CUDA build of PyTorch has the bare version; with two equal signs pip would prefer a CPU build of that
        # version.
        equal = "===" if name == "torch" and "+" not in version else "=="
        lines.append(f"{name}{equal}{version} --hash=sha256:{sha256}")
    return sorted(lines)


def lock_image(python: str, python_version: str, gpu: bool, options: list[str]) -> list[str]:
    """Lock requirements.txt, with one build of PyTorch, and pip, which installs it in an image that has no installer.

    Raises
    ------
    subprocess.CalledProcessError
        If pip finds no compatible versions.
    """
    requirements = ROOT / "requirements.txt"
    torch = next(line for line in requirements.read_text().splitlines() if line.startswith("torch=="))
    with tempfile.TemporaryDirectory() as folder:
        what = ["--requirement", str(requirements), "pip"]
        if gpu:
            what += [torch.replace("==", "===")]
        else:
            torch += "+cpu"
            if code := download_torch(Path(folder), python_version, gpu, [torch, *options]):
                raise subprocess.CalledProcessError(code, "pip download")
            what += [torch, "--find-links", folder]
        return resolve(python, [*what, *options])


def main() -> int:
    """Write one file."""
    parser = argparse.ArgumentParser(description="Write a lock of requirements.txt; other options go to pip.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--python-version", required=True, help="of the image, such as 3.11")
    parser.add_argument("--gpu", action="store_true", help="with the CUDA build of PyTorch")
    parser.add_argument("--requirement", help="lock this file instead of requirements.txt, without PyTorch and pip")
    arguments, options = parser.parse_known_args()
    name = f"python{arguments.python_version}"
    python = shutil.which(name) or name
    try:
        if arguments.requirement:
            lines = resolve(python, ["--requirement", arguments.requirement, *options])
        else:
            lines = lock_image(python, arguments.python_version, arguments.gpu, options)
    except (OSError, subprocess.CalledProcessError):
        print(
            f"error: a lock needs {name} on PATH, and an index or folder with all packages; pip's messages above show "
            f"what is missing. {arguments.file} was not changed.",
            file=sys.stderr,
        )
        return 1
    arguments.file.write_text("# Written by map/lock.py: make lock\n" + "".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
