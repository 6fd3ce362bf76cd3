# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The licenses of what the image carries, from distributions that are made here."""

from __future__ import annotations

import csv
from importlib.metadata import distributions
from pathlib import PurePath

import pytest

from map import licenses


def _install(folder, name, metadata, files):
    """A distribution as an installer leaves it."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: 1.0\n{metadata}\n")
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(f"text of {file}")
    record = [f"{info.name}/METADATA", f"{info.name}/RECORD", *files]
    (info / "RECORD").write_text("".join(f"{line},,\n" for line in record))


def _collect(site_packages, target):
    return licenses.collect(distributions(path=[str(site_packages)]), target)


def test_license_files_and_the_table(tmp_path):
    packages, target = tmp_path / "site-packages", tmp_path / "third-party"
    in_info = "two-1.0.dist-info/licenses/vendored/AUTHORS"
    _install(packages, "two", "License-Expression: MIT", [in_info, "two/_lib/LICENSE.txt", "two/code.py"])
    homes = "Project-URL: Source, https://one.example\nProject-URL: Issues, https://issues.example"
    _install(packages, "One", f"License: BSD-3-Clause\n{homes}", ["One-1.0.dist-info/NOTICE", "one/licenses.py"])

    _collect(packages, target)

    found = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    names = {f"two-1.0/{in_info}", "two-1.0/two/_lib/LICENSE.txt", "One-1.0/One-1.0.dist-info/NOTICE"}
    assert found == {"licenses.csv", *names}
    assert (target / "two-1.0" / in_info).read_text() == f"text of {in_info}"
    with (target / "licenses.csv").open(newline="") as file:
        assert [list(row.values()) for row in csv.DictReader(file)] == [
            ["One", "1.0", "BSD-3-Clause", "1", "https://one.example"],
            ["two", "1.0", "MIT", "2", ""],
        ]


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("License-Expression: Apache-2.0 AND MIT\nLicense: other", "Apache-2.0 AND MIT"),
        ("License: UNKNOWN\nClassifier: License :: OSI Approved :: MIT License", "MIT License"),
        ("License: a whole\n        text\nClassifier: License :: OSI Approved :: BSD License", "BSD License"),
        ("Classifier: Topic :: Other", "see its files"),
    ],
)
def test_stated_license(metadata, expected, tmp_path):
    _install(tmp_path, "one", metadata, ["one/LICENSE"])

    (row,) = _collect(tmp_path, tmp_path / "third-party")

    assert row["license"] == expected


def test_a_file_that_was_removed_is_passed_over(tmp_path):
    _install(tmp_path, "one", "License: MIT", ["one/LICENSE"])
    (tmp_path / "one" / "LICENSE").unlink()

    (row,) = _collect(tmp_path, tmp_path / "third-party")

    assert row["files"] == "0"


def test_neither_statement_nor_file_is_refused(tmp_path):
    _install(tmp_path, "one", "Summary: nothing", ["one/code.py"])

    with pytest.raises(ValueError, match=r"one 1\.0 does neither"):
        _collect(tmp_path, tmp_path / "third-party")


def test_a_list_of_requirements_needs_none(tmp_path):
    _install(tmp_path, "meta", "Requires-Dist: one", [])

    (row,) = _collect(tmp_path, tmp_path / "third-party")

    assert row["license"] == "none: a list of requirements only"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/LICENSE", True),
        ("a/License.txt", True),
        ("a/LICENCE.md", True),
        ("a/COPYING.LESSER", True),
        ("a/NOTICE", True),
        ("a-1.dist-info/licenses/AUTHORS.rst", True),
        ("a/licenses/list.txt", False),
        ("a/license.py", False),
        ("a/README.md", False),
    ],
)
def test_is_license(name, expected):
    assert licenses.is_license(PurePath(name)) is expected
