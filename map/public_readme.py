# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Turns the relative links of the README into absolute ones: a package index shows it outside the repository.

    python -m map.public_readme README.md https://host/owner/nsn2n v0.1.0

The address is that of the publishing repository, so it is not in the sources; publish.yml provides it.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_LINK = re.compile(r"(!?)\[([^\]]*)\]\((?!https?://|#)([^)\s]+)\)")


def absolute_links(text: str, repository: str, revision: str) -> str:
    """Return a text of Markdown in which files of the repository are links to it.

    Parameters
    ----------
    text : str
    repository : str
        Its address, as GitHub has it: pages of files below ``blob``, files themselves below ``raw``.
    revision : str
        Tag or branch.
    """
    base = repository.rstrip("/")

    def absolute(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        return f"{mark}[{label}]({base}/{'raw' if mark else 'blob'}/{revision}/{target})"

    return _LINK.sub(absolute, text)


def main() -> None:
    """Rewrite the file."""
    parser = argparse.ArgumentParser(description="Make the relative links of a README absolute.")
    parser.add_argument("file", type=Path)
    parser.add_argument("repository")
    parser.add_argument("revision")
    arguments = parser.parse_args()
    text = arguments.file.read_text(encoding="utf-8")
    arguments.file.write_text(absolute_links(text, arguments.repository, arguments.revision), encoding="utf-8")


if __name__ == "__main__":
    main()
