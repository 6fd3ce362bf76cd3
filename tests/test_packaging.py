# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The wheel is complete and works away from the checkout; the dependencies say what the code imports."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import shutil
import sys
import sysconfig
import zipfile
from importlib.metadata import packages_distributions, version
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from tests.wheel import build_wheel, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
INSTALLED_AS = {
    "nsn2n": "nsn2n",
    "operators": "nsn2n/operators",
    "app": "nsn2n/app",
    "models/nsn2n": "nsn2n/bundle",
}


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _normal_name(requirement: str) -> str:
    name = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert name, requirement
    return re.sub(r"[-_.]+", "-", name[0]).lower()


def _of_the_application(project):
    """What the project and its extra app need, each once: of some the extra has one build, the project a range."""
    extras = project["optional-dependencies"]
    of_app = [line for name in ("app", "gdcm", "paper") for line in extras[name] if not line.startswith("nsn2n[")]
    named = {_normal_name(line) for line in of_app}
    return [*of_app, *(line for line in project["dependencies"] if _normal_name(line) not in named)]


def test_requirements_are_the_dependencies_of_the_project(project):
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    requirements = [line for line in lines if line and not line.startswith("#")]

    assert sorted(requirements) == sorted(_of_the_application(project))


def test_every_import_is_a_declared_dependency(project):
    declared = {_normal_name(requirement) for requirement in _of_the_application(project)}
    # What many series and the node need more is installed with an extra, and imported when it is used.
    extras = {
        name: {_normal_name(requirement) for requirement in project["optional-dependencies"][name]}
        for name in ("batch", "files", "node")
    }
    providers = packages_distributions()
    undeclared = {}
    for folder in INSTALLED_AS:
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and not node.level:
                    names = [node.module or ""]
                else:
                    continue
                # A script finds the modules beside it by their bare names.
                beside = {file.stem for file in path.parent.glob("*.py")} if path.parent.name == "scripts" else set()
                for name in {name.split(".")[0] for name in names} - {"nsn2n"} - sys.stdlib_module_names - beside:
                    distributions = {_normal_name(provider) for provider in providers.get(name, [])}
                    allowed = declared | extras.get(path.parent.name, set())
                    if not distributions & allowed:
                        undeclared.setdefault(name, []).append(str(path.relative_to(ROOT)))

    assert not undeclared


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Its sources lie beside it, in the folder ``source``."""
    return build_wheel(tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def dist(wheel):
    """What `make dist` leaves in its folder, made by its commands from the copy of the wheel."""
    source = wheel.parent / "source"
    shutil.copytree(ROOT / "map", source / "map", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "Makefile", source)
    recipe = run(["make", "--dry-run", "--always-make", "dist"], cwd=source)
    commands = [line for line in recipe.splitlines() if re.search(r"-m (build|map\.sbom) ", line)]
    assert len(commands) == 2
    build, bill = ([*command.split()] for command in commands)
    for command in (build, bill):
        run([sys.executable, *command[1:]], cwd=source)
    # Twice, in another process: the same bytes.
    file = source / bill[bill.index("wheel") + 1]
    first = file.read_bytes()
    run([sys.executable, *bill[1:]], cwd=source)
    assert file.read_bytes() == first
    return source / "dist"


def test_wheel_holds_every_file_of_the_packages(wheel):
    expected = {"nsn2n/py.typed"}
    for folder, installed in INSTALLED_AS.items():
        kinds = None if folder.startswith("models/") else (".py", ".j2", ".json")
        for path in (ROOT / folder).rglob("*"):
            if kinds and path.suffix not in kinds:
                continue
            if path.is_file() and "__pycache__" not in path.parts:
                expected.add(f"{installed}/{path.relative_to(ROOT / folder).as_posix()}")

    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}

    assert expected <= found, f"missing in the wheel: {sorted(expected - found)}"
    assert all(name.startswith("nsn2n/") and not name.endswith(".pyc") for name in found)


def test_wheel_states_version_and_license(wheel):
    archive = zipfile.ZipFile(wheel)
    metadata_name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
    metadata = archive.read(metadata_name).decode()
    stated = re.search(r'__version__ = "(.+)"', (ROOT / "nsn2n" / "_version.py").read_text())

    assert stated
    assert f"\nVersion: {stated[1]}\n" in metadata
    assert "\nLicense-Expression: Apache-2.0 AND BSD-2-Clause\n" in metadata
    for file in ("LICENSE", "nsn2n/report/vendor/LICENSE.niivue.txt"):
        assert any(name.endswith(f".dist-info/licenses/{file}") for name in archive.namelist())


def test_installed_wheel_works_away_from_the_checkout(wheel, tmp_path):
    """A new environment gets the wheel; the dependencies are borrowed from this one, nsn2n itself is not."""
    environment = tmp_path / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", str(environment)], cwd=tmp_path)
    python = str(environment / "bin" / "python")
    install = ["install", "--no-deps", "--no-index", "--no-compile", str(wheel)]
    run([sys.executable, "-m", "pip", "--python", python, *install], cwd=tmp_path)
    paths = {"base": str(environment), "platbase": str(environment)}
    site_packages = Path(sysconfig.get_path("purelib", vars=paths))
    # A .pth file adds the folder, but not the .pth files in it: an editable nsn2n there stays unseen.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages / "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")

    places = run(
        [
            python,
            "-c",
            "import nsn2n, nsn2n.dicom, nsn2n.operators, nsn2n.app, nsn2n.bundle\n"
            "for package in nsn2n, nsn2n.dicom, nsn2n.operators, nsn2n.app, nsn2n.bundle:\n"
            "    print(package.__file__)",
        ],
        cwd=tmp_path,
    ).splitlines()

    assert len(places) == 5
    assert all(place.startswith(str(site_packages)) for place in places), places
    for path in (ROOT / "models" / "nsn2n").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert (site_packages / "nsn2n" / "bundle" / path.relative_to(ROOT / "models" / "nsn2n")).is_file()
    assert "demo" in run([str(environment / "bin" / "nsn2n"), "--help"], cwd=tmp_path)


def test_dist_holds_the_wheel_the_sources_and_the_bill(dist, wheel):
    name = wheel.name.split("-py3")[0]
    assert {path.name for path in dist.iterdir()} == {wheel.name, f"{name}.tar.gz", f"{name}.cdx.json"}
    # The index would take them: metadata are valid, and the README can be shown.
    run([sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.glob("*.[wt]*"))], cwd=dist)
    # That wheel is built from the source distribution: so it lacks nothing.
    assert sorted(zipfile.ZipFile(dist / wheel.name).namelist()) == sorted(zipfile.ZipFile(wheel).namelist())


def test_bill_of_the_wheel_is_of_what_is_installed(dist, project):
    (file,) = dist.glob("*.cdx.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(file.read_text()) is None
    bill = json.loads(file.read_text())

    root = bill["metadata"]["component"]
    assert root["licenses"] == [{"expression": project["license"]}]
    (built,) = dist.glob("*.whl")
    assert root["purl"] == f"pkg:pypi/nsn2n@{root['version']}"
    assert root["hashes"] == [{"alg": "SHA-256", "content": hashlib.sha256(built.read_bytes()).hexdigest()}]
    vendored = [one for one in bill["components"] if one["name"] == "@niivue/niivue"]
    assert [one["version"] for one in vendored] == ["0.69.0"]
    listed = {_normal_name(one["name"]): one["version"] for one in bill["components"] if one not in vendored}
    assert listed == {name: version(name) for name in listed}
    assert {_normal_name(requirement) for requirement in _of_the_application(project)} <= set(listed)
    assert "numpy" in listed
    assert not {"pytest", "ruff", "cyclonedx-python-lib", "nsn2n"} & set(listed)
    depends = {one["ref"]: one.get("dependsOn", []) for one in bill["dependencies"]}
    assert len(depends[root["bom-ref"]]) == len(_of_the_application(project)) + len(vendored)
    assert set().union(*depends.values()) == {one["bom-ref"] for one in bill["components"]}


def test_make_setup_installs_the_versions_of_the_lock():
    constraints = Path(sys.prefix) / "constraints.txt"
    if not constraints.is_file():
        pytest.skip("this environment is not one of make setup")
    locked = dict(line.split("==") for line in constraints.read_text().split())

    assert len(locked) > 50
    # PyTorch's version also names its build, for a CPU or for CUDA.
    assert {name: version(name).split("+")[0] for name in locked} == locked
