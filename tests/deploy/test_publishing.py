# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""GitHub's workflows and the recipe for conda say what the project says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from nsn2n._version import __version__

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
ON_CONDA = {"torch": "pytorch", "matplotlib": "matplotlib-base"}


def _workflow(name):
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text())


def _steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_workflows_hold_to_the_schema():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows"]
    result = subprocess.run([*command, *WORKFLOWS], capture_output=True, text=True, timeout=60, check=False)

    assert len(WORKFLOWS) == 2
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", ["tests.yml", "publish.yml"])
def test_workflows_pin_actions_and_may_write_nothing(name):
    workflow = _workflow(name)

    used = [step["uses"] for step in _steps(workflow) if "uses" in step]
    assert used
    assert all(re.search(r"@(v\d+|release/v\d+|[0-9a-f]{40})$", action) for action in used)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(job["timeout-minutes"] for job in workflow["jobs"].values())
    allowed = [job.get("permissions") for job in workflow["jobs"].values()]
    # The identity by which the index knows the workflow, for the job alone that has nothing but the files.
    assert [one for one in allowed if one] == ([{"id-token": "write"}] if name == "publish.yml" else [])


def test_each_version_of_python_is_tried():
    matrix = _workflow("tests.yml")["jobs"]["wheel"]["strategy"]["matrix"]
    allowed = SpecifierSet(PROJECT["requires-python"])

    assert matrix["python"] == [f"3.{minor}" for minor in range(30) if f"3.{minor}" in allowed]
    assert {one["os"].split("-")[0] for one in matrix["include"]} == {"macos", "windows"}


def test_files_that_the_workflow_runs_are_there():
    script = "\n".join(step.get("run", "") for step in _steps(_workflow("tests.yml")))

    files = set(re.findall(r"(?:bash|python) (\.ci/run|tests/\S+)", script))
    assert files == {".ci/run", "tests/install/installed.py"}
    assert all((ROOT / file).is_file() for file in files)


@pytest.mark.parametrize(("tag", "code"), [(f"v{__version__}", 0), (__version__, 1), (f"v{__version__}.1", 1)])
def test_only_the_tag_of_the_version_is_published(tag, code):
    (check,) = (step["run"] for step in _steps(_workflow("publish.yml")) if "sed" in step.get("run", ""))
    environment = {**os.environ, "GITHUB_REF_NAME": tag}

    assert subprocess.run(["bash", "-ec", check], cwd=ROOT, env=environment, check=False).returncode == code


def test_what_is_published_was_built_and_checked_before():
    jobs = _workflow("publish.yml")["jobs"]
    build = [step.get("run", "") for step in jobs["build"]["steps"]]
    places = [
        next(place for place, step in enumerate(build) if text in step)
        for text in ("GITHUB_REF_NAME", "map.public_readme", "-m build", "twine check --strict")
    ]

    assert places == sorted(places)
    assert jobs["publish"]["needs"] == "build"
    assert not any("run" in step for step in jobs["publish"]["steps"])


def test_the_recipe_for_conda_can_be_rendered():
    rattler_build = pytest.importorskip("rattler_build", reason="py-rattler-build is not installed: nsn2n[test]")
    recipe = rattler_build.Stage0Recipe.from_file(str(ROOT / "deploy" / "conda" / "recipe.yaml"))

    (rendered,) = recipe.render(rattler_build.VariantConfig())

    assert str(rendered).startswith(f"RenderedVariant(package='nsn2n', version='{__version__}'")


def test_the_recipe_for_conda_asks_for_what_the_project_asks_for():
    recipe = yaml.safe_load((ROOT / "deploy" / "conda" / "recipe.yaml").read_text())

    def by_name(lines):
        pairs = (re.fullmatch(r"([\w-]+) *(\S*)", line) for line in lines)
        return {pair[1]: pair[2] for pair in pairs if pair}

    expected = {}
    for one in map(Requirement, PROJECT["dependencies"]):
        bounds = sorted(str(one.specifier).split(","), reverse=True)  # the lower one first
        expected[ON_CONDA.get(one.name, one.name)] = ",".join(bounds).removeprefix("==")
    expected["python"] = PROJECT["requires-python"]
    found = by_name(recipe["requirements"]["run"])

    assert found == expected
    assert recipe["context"]["version"] == __version__
    assert recipe["about"]["license"] == PROJECT["license"]
    assert recipe["about"]["license_file"] == PROJECT["license-files"]
    (command,) = recipe["build"]["python"]["entry_points"]
    assert command == f"nsn2n = {PROJECT['scripts']['nsn2n']}"
    build_system = tomllib.loads((ROOT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert by_name(recipe["requirements"]["host"])["setuptools"] == str(Requirement(build_system[0]).specifier)
