# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Collects the licenses of the installed distributions, for the documents of the image.

    python licenses.py /third-party

One folder for each distribution with its license files, and licenses.csv with all names, versions and licenses. The
licenses of the base image are under /usr/share/doc.
"""

from __future__ import annotations

import csv
import re
import shutil
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distributions
from pathlib import Path, PurePath

TABLE = "licenses.csv"

LICENSE_NAME = re.compile(r"(licen[cs]e|copying|copyright|notice|eula)", re.IGNORECASE)
CODE = {".py", ".pyc", ".pyi", ".h", ".so"}


def is_license(file: PurePath) -> bool:
    """Return whether a file of a distribution is a license or notice: by its name, or its folder of PEP 639."""
    if file.suffix in CODE:
        return False
    return bool(LICENSE_NAME.match(file.name)) or ("licenses" in file.parts[1:-1] and ".dist-info" in file.parts[0])


def stated_license(distribution: Distribution) -> str:
    """Return the license that the metadata states: the SPDX expression, else the short text, else the classifiers."""
    metadata = distribution.metadata
    for key in ("License-Expression", "License"):
        value = str(metadata.get(key) or "").strip()
        # Some packages give the whole text here.
        if value and value.upper() != "UNKNOWN" and "\n" not in value:
            return value
    classifiers = [str(line) for line in metadata.get_all("Classifier") or []]
    return "; ".join(line.split(" :: ")[-1] for line in classifiers if line.startswith("License :: "))


def home(distribution: Distribution) -> str:
    """Return the address of the project, which has the text if its package lacks it."""
    urls = [str(line).split(",", 1)[-1].strip() for line in distribution.metadata.get_all("Project-URL") or []]
    return str(distribution.metadata.get("Home-page") or "") or next(iter(urls), "")


def collect(installed: Iterable[Distribution], target: Path) -> list[dict[str, str]]:
    """Copy the license files below a folder and write the table into it.

    Parameters
    ----------
    installed : iterable of Distribution
    target : path
        Created if absent.

    Returns
    -------
    list of dict
        Rows of the table: name, version, license, files (their number), home.

    Raises
    ------
    ValueError
        If a distribution neither states a license nor brings one, and is more than a list of requirements.
    """
    rows = []
    target.mkdir(parents=True, exist_ok=True)
    for distribution in sorted(installed, key=lambda one: one.name.lower()):
        folder = target / f"{distribution.name}-{distribution.version}"
        files = distribution.files or []
        count = 0
        for file in files:
            source = Path(str(file.locate()))
            if is_license(file) and ".." not in file.parts and source.is_file():
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source, folder / file)
                count += 1
        stated = stated_license(distribution) or ("see its files" if count else "")
        if not stated and files and all(".dist-info" in file.parts[0] for file in files):
            stated = "none: a list of requirements only"
        if not stated:
            raise ValueError(
                f"every distribution must state or contain its license; {distribution.name} {distribution.version}"
                " does neither. Determine it before release."
            )
        rows.append(
            {
                "name": distribution.name,
                "version": distribution.version,
                "license": stated,
                "files": str(count),
                "home": home(distribution),
            }
        )
    with (target / TABLE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["name", "version", "license", "files", "home"])
        writer.writeheader()
        writer.writerows(rows)
    return rows


def main() -> int:
    """Collect what this Python has installed."""
    if len(sys.argv) != 2:
        print("usage: python licenses.py FOLDER", file=sys.stderr)
        return 2
    try:
        rows = collect(distributions(), Path(sys.argv[1]))
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"licenses of {len(rows)} distributions")
    return 0


if __name__ == "__main__":
    sys.exit(main())
