# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The README as a package index shows it."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from readme_renderer import markdown

ROOT = Path(__file__).resolve().parents[2]
REPOSITORY = "https://example.org/owner/nsn2n"


def test_every_link_and_the_picture_work_away_from_the_repository(tmp_path):
    shutil.copy(ROOT / "README.md", tmp_path)
    command = [sys.executable, "-m", "map.public_readme", str(tmp_path / "README.md"), f"{REPOSITORY}/", "v0.1.0"]
    subprocess.run(command, cwd=ROOT, check=True, timeout=60)
    page = markdown.render((tmp_path / "README.md").read_text(encoding="utf-8"))

    links = [link for link in re.findall(r'<a href="([^"]+)"', page) if not link.startswith("#")]
    (picture,) = re.findall(r'<img [^>]*src="([^"]+)"', page)
    assert len(links) > 30
    assert all(link.startswith("https://") for link in links)
    assert picture == f"{REPOSITORY}/raw/v0.1.0/docs/demo.png"
    own = [link.removeprefix(f"{REPOSITORY}/blob/v0.1.0/") for link in links if link.startswith(REPOSITORY)]
    assert len(own) > 20
    for path in own:
        assert (ROOT / path.split("#")[0]).is_file(), path
    assert page.count("<pre") == (ROOT / "README.md").read_text(encoding="utf-8").count("```") / 2
