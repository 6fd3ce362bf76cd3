# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the bill of materials (CycloneDX 1.6, JSON) of the image, or of a wheel.

    python -m map.sbom image sbom.cdx.json --version 0.1.0 --packages /opt/nsn2n/lib/python3.11/site-packages
    python -m map.sbom wheel nsn2n-0.1.0.cdx.json --version 0.1.0 --wheel nsn2n-0.1.0-py3-none-any.whl

That of the image lists all that is installed in it: Python packages, with the hashes of their wheels, the interpreter
and Debian's packages. That of a wheel lists what its requirements install, as present where the wheel was built.
Neither has a timestamp or a serial number: the same packages give the same bytes.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import Distribution, distributions
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, XsUri
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement

from map.licenses import home, stated_license

ROOT = Path(__file__).resolve().parents[1]


def normal_name(name: str) -> str:
    """Return the normalized name of a distribution in the package index (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirements_of(distribution: Distribution, extras: Iterable[str] = ()) -> list[Requirement]:
    """Return what a distribution requires of this interpreter, with some of its extras."""
    wanted = [Requirement(line) for line in distribution.requires or []]
    contexts = [{"extra": extra} for extra in ("", *extras)]
    return [one for one in wanted if not one.marker or any(one.marker.evaluate(context) for context in contexts)]


def brought(requirements: Iterable[Requirement], installed: Mapping[str, Distribution]) -> dict[str, set[str]]:
    """Return the names of the installed distributions that requirements pull in, and the extras of each."""
    found: dict[str, set[str]] = {}
    waiting = list(requirements)
    while waiting:
        one = waiting.pop()
        name = normal_name(one.name)
        if name in installed and (name not in found or not one.extras <= found[name]):
            found[name] = found.get(name, set()) | one.extras
            waiting += requirements_of(installed[name], found[name])
    return found


def python_component(distribution: Distribution, sha256: str | None) -> Component:
    """Describe a distribution; the hash is that of the wheel that it was installed from."""
    purl = PackageURL("pypi", name=normal_name(distribution.name), version=distribution.version)
    stated, address = stated_license(distribution), home(distribution)
    return Component(
        name=distribution.name,
        version=distribution.version,
        purl=purl,
        bom_ref=purl.to_string(),
        licenses=[LicenseFactory().make_from_string(stated)] if stated else [],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=sha256)] if sha256 else [],
        external_references=[ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri(address))]
        if address
        else [],
    )


def system_components() -> list[Component]:
    """Describe the interpreter and the packages of Debian or Ubuntu."""
    purls = [PackageURL("generic", name="python", version=platform.python_version())]
    release = platform.freedesktop_os_release()
    qualifiers = {"distro": f"{release['ID']}-{release['VERSION_ID']}"}
    form = "${db:Status-Status} ${Package} ${Version} ${Architecture}\n"
    listed = subprocess.run(["dpkg-query", "-W", "-f", form], capture_output=True, text=True, check=True).stdout
    for status, name, version, architecture in (line.split(" ") for line in listed.splitlines()):
        if status == "installed":
            purls.append(PackageURL("deb", release["ID"], name, version, {**qualifiers, "arch": architecture}))
    kinds = {"generic": ComponentType.PLATFORM}
    return [
        Component(
            type=kinds.get(purl.type, ComponentType.LIBRARY),
            name=purl.name,
            version=purl.version,
            purl=purl,
            bom_ref=purl.to_string(),
        )
        for purl in purls
    ]


def vendored_components() -> list[Component]:
    """Describe third-party code in the package itself: `nsn2n/report/vendor`."""
    purl = PackageURL("npm", "@niivue", "niivue", "0.69.0")
    (file,) = (ROOT / "nsn2n" / "report" / "vendor").glob("niivue-0.69.0*.js")
    return [
        Component(
            name="@niivue/niivue",
            version=purl.version,
            purl=purl,
            bom_ref=purl.to_string(),
            licenses=[LicenseFactory().make_from_string("BSD-2-Clause")],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(file.read_bytes()).hexdigest())],
            external_references=[
                ExternalReference(type=ExternalReferenceType.WEBSITE, url=XsUri("https://github.com/niivue/niivue"))
            ],
        )
    ]


def locked_hashes(lock: Path) -> dict[str, str]:
    """Return the hashes of a lock, by the names of its packages."""
    lines = re.findall(r"^([a-z0-9-]+)==.* --hash=sha256:([0-9a-f]{64})$", lock.read_text(encoding="utf-8"), re.M)
    return dict(lines)


def bill(
    root: Component,
    requirements: list[Requirement],
    packages: Mapping[str, Distribution],
    hashes: Mapping[str, str],
    system: Iterable[Component] = (),
) -> str:
    """Return the document.

    Parameters
    ----------
    root : Component
        The subject of the bill.
    requirements : list of Requirement
        What it requires itself.
    packages : mapping
        Distributions in it by their names.
    hashes : mapping
        SHA-256 of their wheels by their names, as far as known.
    system : iterable of Component
        Other components in it.

    Returns
    -------
    str
        JSON.
    """
    document = Bom()
    document.serial_number = document.metadata.timestamp = None
    document.metadata.component = root
    components = {name: python_component(one, hashes.get(name)) for name, one in packages.items()}
    system = list(system)
    for component in (*components.values(), *system):
        document.components.add(component)

    def named(wanted: Iterable[Requirement]) -> list[Component]:
        names = {normal_name(one.name) for one in wanted}
        return [components[name] for name in sorted(names & set(components))]

    document.register_dependency(root, [*named(requirements), *system])
    extras = brought(requirements, packages)
    for name, one in packages.items():
        document.register_dependency(components[name], named(requirements_of(one, extras.get(name, ()))))
    return JsonV1Dot6(document).output_as_string(indent=2) + "\n"


def main() -> int:
    """Write one file."""
    parser = argparse.ArgumentParser(description="Write a bill of materials (CycloneDX).")
    parser.add_argument("subject", choices=["image", "wheel"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--version", required=True, help="of nsn2n")
    parser.add_argument("--packages", help="folder of the installed Python packages of the image")
    parser.add_argument("--lock", type=Path, help="lock from which they were installed")
    parser.add_argument("--wheel", type=Path)
    arguments = parser.parse_args()
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    root = Component(
        name="nsn2n",
        version=arguments.version,
        bom_ref="nsn2n",
        licenses=[LicenseFactory().make_from_string("Apache-2.0 AND BSD-2-Clause")],
    )
    if arguments.subject == "image":
        root.type = ComponentType.CONTAINER
        packages = {normal_name(one.name): one for one in distributions(path=[arguments.packages])}
        text = bill(
            root, requirements, packages, locked_hashes(arguments.lock), [*system_components(), *vendored_components()]
        )
    else:
        root.purl = PackageURL("pypi", name="nsn2n", version=arguments.version)
        content = hashlib.sha256(arguments.wheel.read_bytes()).hexdigest()
        root.hashes.add(HashType(alg=HashAlgorithm.SHA_256, content=content))
        installed = {normal_name(one.name): one for one in distributions()}
        packages = {name: installed[name] for name in brought(requirements, installed)}
        text = bill(root, requirements, packages, {}, vendored_components())
    arguments.file.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
