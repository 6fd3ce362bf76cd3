# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The bills of materials: valid, complete and the same each time; that of the image against what is installed in it."""

from __future__ import annotations

import json
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packaging.requirements import Requirement

from map import sbom
from nsn2n._version import __version__

ROOT = Path(__file__).resolve().parents[2]
IN_IMAGE = "/opt/holoscan/docs/sbom.cdx.json"
LIST = "from importlib.metadata import distributions\nfor one in distributions(): print(one.name, one.version)"


def check(text):
    """Raise AssertionError if a document is not CycloneDX 1.6 in every field; return it."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    assert error is None, error
    return json.loads(text)


def _install(folder, name, version="1.0", license="MIT", requires=()):
    info = folder / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    lines = ["Metadata-Version: 2.4", f"Name: {name}", f"Version: {version}", f"License-Expression: {license}"]
    lines += ["Project-URL: Home, https://one.example", *(f"Requires-Dist: {line}" for line in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def _installed(folder):
    return {sbom.normal_name(one.name): one for one in distributions(path=[str(folder)])}


def _dependencies(document):
    return {one["ref"]: one.get("dependsOn", []) for one in document["dependencies"]}


@pytest.fixture
def image_bill(tmp_path, monkeypatch):
    """The bill of a folder with packages, as the Dockerfile makes it; no Debian is needed."""
    packages = tmp_path / "packages"
    _install(packages, "Py_Dicom", "3.0.2", requires=["NumPy>1; python_version > '3'", "gone; python_version < '3'"])
    _install(packages, "numpy", "2.0+cpu", license="BSD-3-Clause AND MIT")
    lock = tmp_path / "lock.txt"
    lock.write_text(f"# a lock\nnumpy===2.0+cpu --hash=sha256:{'0a' * 32}\n")
    deb = sbom.Component(name="libc6", version="2.36", bom_ref="libc6")
    monkeypatch.setattr(sbom, "system_components", lambda: [deb])

    def make():
        file = tmp_path / "sbom.cdx.json"
        options = ["--version", "9.8", "--packages", str(packages), "--lock", str(lock)]
        monkeypatch.setattr(sys, "argv", ["sbom.py", "image", str(file), *options])
        assert sbom.main() == 0
        return file.read_text()

    return make


def test_bill_of_an_image(image_bill):
    document = check(image_bill())

    root = document["metadata"]["component"]
    assert (root["type"], root["name"], root["version"]) == ("container", "nsn2n", "9.8")
    niivue, numpy, pydicom, libc = sorted(document["components"], key=lambda one: one.get("purl", "~"))
    assert numpy["purl"] == "pkg:pypi/numpy@2.0%2Bcpu"
    assert numpy["hashes"] == [{"alg": "SHA-256", "content": "0a" * 32}]
    assert numpy["licenses"][0]["expression"] == "BSD-3-Clause AND MIT"
    assert pydicom["purl"] == "pkg:pypi/py-dicom@3.0.2"
    assert pydicom["licenses"][0]["license"]["id"] == "MIT"
    assert pydicom["externalReferences"][0]["url"] == "https://one.example"
    assert "hashes" not in pydicom
    assert libc["name"] == "libc6"
    assert niivue["purl"] == "pkg:npm/%40niivue/niivue@0.69.0"
    assert niivue["licenses"][0]["license"]["id"] == "BSD-2-Clause"
    dependencies = _dependencies(document)
    assert dependencies[pydicom["bom-ref"]] == [numpy["bom-ref"]]
    # Of requirements.txt; what it does not name is there because something else needs it.
    assert dependencies["nsn2n"] == sorted(["libc6", niivue["bom-ref"], numpy["bom-ref"]])


def test_same_packages_same_bytes(image_bill):
    assert image_bill() == image_bill()


def test_what_requirements_bring(tmp_path):
    _install(tmp_path, "one", requires=["two[fast]", "left-out; extra == 'more'"])
    _install(tmp_path, "two", requires=["three; extra == 'fast'", "one", "absent"])
    for name in ("three", "left-out", "other"):
        _install(tmp_path, name)

    found = sbom.brought([Requirement("One>=1")], _installed(tmp_path))

    assert found == {"one": set(), "two": {"fast"}, "three": set()}


def test_image_has_the_bill_of_all_that_is_installed(docker, image):
    def inside(*command):
        result = docker("run", "--rm", "--network", "none", "--entrypoint", command[0], image, *command[1:])
        assert result.returncode == 0, result.stderr
        return result.stdout

    document = check(inside("cat", IN_IMAGE))

    by_kind = {}
    for one in document["components"]:
        by_kind.setdefault(one["purl"].split("/")[0], {})[one["name"]] = one
    assert document["metadata"]["component"]["version"] == __version__
    python = by_kind["pkg:pypi"]
    assert sorted(f"{one['name']} {one['version']}" for one in python.values()) == sorted(
        inside("python3", "-c", LIST).splitlines()
    )
    form = "${Package} ${Version}\n"
    assert sorted(f"{one['name']} {one['version']}" for one in by_kind["pkg:deb"].values()) == sorted(
        inside("dpkg-query", "-W", "-f", form).splitlines()
    )
    version = inside("python3", "-c", "import platform; print(platform.python_version())").strip()
    assert by_kind["pkg:generic"]["python"]["version"] == version
    # Each was installed from a wheel that the lock names.
    assert all(one["hashes"] for one in python.values())
    kind = "cpu" if "+cpu" in python["torch"]["version"] else "gpu"
    lock = sbom.locked_hashes(ROOT / "map" / "lock" / f"{kind}-{version.rpartition('.')[0]}.txt")
    assert {sbom.normal_name(name): one["hashes"][0]["content"] for name, one in python.items()}.items() <= lock.items()
    assert python["torch"]["bom-ref"] in _dependencies(document)[python["monai"]["bom-ref"]]
