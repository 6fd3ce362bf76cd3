# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The notebooks of the documentation run, and are committed with their outputs and without traces of a machine."""

from __future__ import annotations

import json
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "docs" / "notebooks").glob("*.ipynb"))
KNOWN_KEYS = {"kernelspec", "language_info"}

each_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _text(notebook):
    """Everything in a notebook but its pictures, whose base64 can spell anything."""
    copy = json.loads(nbformat.writes(notebook))
    for cell in copy["cells"]:
        for output in cell.get("outputs", []):
            output.get("data", {}).pop("image/png", None)
    return json.dumps(copy, ensure_ascii=False)


def test_both_notebooks_are_there():
    assert [path.stem for path in NOTEBOOKS] == ["ct-series", "mr-nifti"]


@pytest.mark.slow
@each_notebook
def test_it_runs(path, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    committed = [[output.output_type for output in cell.outputs] for cell in _code(notebook)]

    # How often a kernel passes its output on depends on the machine.
    resources = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, coalesce_streams=True, resources=resources).execute()

    assert [[output.output_type for output in cell.outputs] for cell in _code(notebook)] == committed


@each_notebook
def test_it_is_committed_as_it_ran(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    cells = _code(notebook)
    shown = [output for cell in cells for output in cell.outputs]

    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert {output.output_type for output in shown} <= {"stream", "display_data"}, "an error"
    assert all(output.name == "stdout" for output in shown if output.output_type == "stream"), "a warning"
    assert sum("image/png" in output.get("data", {}) for output in shown) == 2
    assert path.stat().st_size < 1_000_000


@each_notebook
def test_it_has_no_paths_and_no_metadata_of_the_machine(path):
    notebook = nbformat.read(path, as_version=4)

    assert set(notebook.metadata) == KNOWN_KEYS
    assert notebook.metadata.kernelspec == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert not any(cell.metadata for cell in notebook.cells)
    assert not re.search(r"/(home|root|tmp|Users|usr|opt|var|work)\b|file://", _text(notebook))


@each_notebook
def test_each_picture_names_its_window(path):
    drawn = [cell.source for cell in _code(nbformat.read(path, as_version=4)) if "\nshow(" in f"\n{cell.source}"]

    assert len(drawn) == 2
    assert all("Window" in source for source in drawn)
