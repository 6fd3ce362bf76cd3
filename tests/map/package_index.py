# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""An index of packages that is a folder: wheels made here, and the settings by which pip knows no other."""

from __future__ import annotations

import hashlib
import os
import zipfile


def publish(index, name, version, requires=(), content=""):
    """Put a wheel on an index, which is a folder with a page for each name (PEP 503); returns it."""
    page = index / name.replace("_", "-")
    page.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {requirement}" for requirement in requires]
    path = page / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{info}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
        wheel.writestr(f"{name}.py", content)
    list_page(page)
    return path


def list_page(page):
    """Write the page of a name, for the wheels that are there."""
    (page / "index.html").write_text("".join(f'<a href="{path.name}">{path.name}</a>\n' for path in page.glob("*.whl")))


def locked(wheel, equal="=="):
    """The line of a lock that allows a wheel."""
    name, version, _ = wheel.name.split("-", 2)
    return f"{name.replace('_', '-')}{equal}{version} --hash=sha256:{hashlib.sha256(wheel.read_bytes()).hexdigest()}\n"


def use_alone(monkeypatch, index):
    """Let pip know this index, and nothing of the settings of the machine."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", index.as_uri())
    monkeypatch.setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1")
