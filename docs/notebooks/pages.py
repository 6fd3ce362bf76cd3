# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Shows the notebooks as pages of the documentation site, with the outputs that they hold; nothing is run.

A hook of mkdocs (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from nbconvert import MarkdownExporter

LINK = re.compile(r"(\]\((?:\.\./|notebooks/)?[\w-]+)\.ipynb\)")
"""A link to a notebook, which works in a checkout; on the site it leads to the page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, and its figures; the notebook itself stays, for download."""
    for notebook in [file for file in files if file.src_uri.endswith(".ipynb")]:
        uri = PurePosixPath(notebook.src_uri)
        names = {"unique_key": uri.stem, "output_files_dir": f"{uri.stem}-figures"}
        text, resources = MarkdownExporter().from_filename(notebook.abs_src_path, resources=names)
        files.append(File.generated(config, str(uri.with_suffix(".md")), content=text))
        for name, figure in resources["outputs"].items():
            files.append(File.generated(config, str(uri.parent / name), content=figure))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Link to the pages of notebooks, and from these to the notebooks."""
    if (notebook := PurePosixPath(page.file.src_uri).with_suffix(".ipynb")).as_posix() in files.src_uris:
        return f"{markdown}\n\n[Download this page as a notebook]({notebook.name}).\n"
    return LINK.sub(r"\1.md)", markdown)
