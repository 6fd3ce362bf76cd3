# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The container commands of README.md and docs/container.md, but for settings that make them brief."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nsn2n.dicom.selection.scan import scan_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("README.md", "docs/container.md")


def _command(start, page="docs/container.md"):
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    (command,) = re.findall(rf"^{start} .*", text, flags=re.MULTILINE)
    return command


@pytest.fixture
def study(folders):
    """The folder in which ``study`` and ``denoised`` are, with brief settings."""
    source, output = folders
    source.rename(source.parent / "study")
    output.rename(output.parent / "denoised")
    (source.parent / "brief.yaml").write_text("nsn2n: {preset: fast, config: {fit: {steps: 3}}}\n")
    return source.parent


def _run(command, folder, **environment):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    result = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env={**os.environ, "PATH": path, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert len(scan_folder(folder / "denoised").series) == 1


@pytest.mark.parametrize("page", PAGES)
def test_docker_run(study, image, page):
    command = _command("docker run", page)
    assert f" {image}" in command

    _run(command.replace(f" {image}", f' -v "$PWD/brief.yaml:/var/holoscan/app.yaml:ro" {image}'), study)


def test_official_runner(study, image, docker):
    if "nvidia" not in docker("info", "--format", "{{.Runtimes}}").stdout:
        pytest.skip("the engine has no runtime named nvidia, which monai-deploy run asks for")
    if not shutil.which("monai-deploy", path=Path(sys.executable).parent):
        pytest.skip("monai-deploy is not installed in this environment")
    # The runner wants to see that buildx is there, and does not use it.
    plugin = study / ".docker" / "cli-plugins" / "docker-buildx"
    plugin.parent.mkdir(parents=True)
    plugin.write_text("#!/bin/sh\n")
    plugin.chmod(0o755)
    command = _command("monai-deploy run")
    assert image in command

    _run(f"{command} --config brief.yaml", study, HOME=str(study))
