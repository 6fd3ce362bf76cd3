# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The official packager is followed to its call of `docker buildx build`; what it would send is complete.

In place of docker stands a program that keeps the build context, since NVIDIA's base images need the internet.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pydicom
import pytest

from nsn2n._version import __version__

ROOT = Path(__file__).resolve().parents[2]
BUILDER = "holoscan_app_builder"
STAND_IN = f"""#!{sys.executable}
import os, shutil, sys
words = sys.argv[1:]
if "ls" in words:
    print('{{"Name": "{BUILDER}", "Driver": "docker-container"}}')
elif words[:2] == ["buildx", "inspect"]:
    print("Name: {BUILDER}")
elif "inspect" in words:
    print('[{{"Id": "sha256:0"}}]')
elif "build" in words:
    shutil.copytree(words[-1], os.environ["KEEP_CONTEXT"])
"""
# The packager downloads this list of base images; the one here stands for it.
SOURCE = {
    "4.2.0": {
        "holoscan": {
            "wheel-version": "4.2.0",
            "debian-version": "4.2.0",
            "base-images": {"dgpu": "base:dgpu", "igpu": "base:igpu"},
            "build-images": {kind: {} for kind in ("dgpu", "igpu", "cpu")},
        }
    }
}


def _check(command, **options):
    result = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=120, check=False, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    """The build context, made by the commands of `make map-official`."""
    folder = tmp_path_factory.mktemp("official")
    tools = folder / "tools"
    tools.mkdir()
    (tools / "docker").write_text(STAND_IN)
    (tools / "docker").chmod(0o755)
    (folder / "source.json").write_text(json.dumps(SOURCE))
    dry_run = ["make", "--dry-run", "--always-make", "map-official", f"PACKAGE_ARGS=--source {folder / 'source.json'}"]
    recipe = _check(dry_run, cwd=ROOT).stdout.replace("\\\n", " ").splitlines()
    commands = [line for line in recipe if re.search(r"map/stage_official\.sh|monai-deploy package", line)]
    assert len(commands) == 2
    environment = {
        **os.environ,
        "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}",
        "KEEP_CONTEXT": str(folder / "context"),
    }
    for command in commands:
        here = command.replace(".venv/bin/monai-deploy", str(Path(sys.executable).parent / "monai-deploy"))
        here = here.replace("build/map-official", str(folder / "staged"))
        _check(["sh", "-c", here], cwd=ROOT, env=environment)
    return folder / "context"


def test_context_holds_the_application_and_nothing_of_its_development(context):
    names = {path.relative_to(context).as_posix() for path in context.rglob("*")}

    assert {"Dockerfile", "app.config", "map/app.json", "map/pkg.json", "app/__main__.py", "docs/LICENSE"} <= names
    assert "models/nsn2n/configs/selection_rules.json" in names
    unwanted = re.compile(r"(^|/)(tests|benchmarks|wheels|\.git|__pycache__|\.\w+_cache)(/|$)|\.pyc$")
    assert not [name for name in names if unwanted.search(name)]
    installed = (context / "pip" / "requirements.txt").read_text().splitlines()
    assert set((ROOT / "requirements.txt").read_text().splitlines()) <= set(installed)


def test_its_manifests_are_ours(context, tmp_path):
    command = [sys.executable, ROOT / "map" / "manifests.py", ROOT / "app.yaml", ROOT / "models", tmp_path]
    _check(command)

    for name in ("app.json", "pkg.json"):
        theirs, ours = (json.loads((folder / name).read_text()) for folder in (context / "map", tmp_path))
        ours.get("environment", {}).pop("HOLOSCAN_TIMEOUT", None)
        assert ours == theirs
        assert theirs["version"] == __version__


def test_its_image_would_denoise(context, folders, tmp_path):
    """An environment with the requirements, without nsn2n, and with the PYTHONPATH of the packager's Dockerfile."""
    source, output = folders
    environment = tmp_path / "environment"
    _check([sys.executable, "-m", "venv", "--without-pip", environment])
    paths = {"base": str(environment), "platbase": str(environment)}
    # A .pth file adds the folder, but not the .pth files in it: an editable nsn2n there stays unseen.
    borrowed = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(sysconfig.get_path("purelib", vars=paths), "borrowed.pth").write_text("\n".join(sorted(borrowed)) + "\n")
    (search_path,) = re.findall(r"^ENV PYTHONPATH=\$PYTHONPATH:(.*)$", (context / "Dockerfile").read_text(), re.M)
    (tmp_path / "brief.yaml").write_text("nsn2n: {preset: fast, config: {fit: {steps: 3}}}\n")
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "HOLOSCAN_"))},
        "PYTHONPATH": search_path.replace("/opt/holoscan/lib", str(context / "lib")),
        "HOLOSCAN_INPUT_PATH": str(source),
        "HOLOSCAN_OUTPUT_PATH": str(output),
        "HOLOSCAN_MODEL_PATH": str(context / "models"),
        "HOLOSCAN_CONFIG_PATH": str(tmp_path / "brief.yaml"),
        "OMP_NUM_THREADS": "1",
    }
    python = environment / "bin" / "python"
    place = _check([python, "-c", "import nsn2n; print(nsn2n.__file__)"], cwd=tmp_path, env=variables).stdout

    _check([python, context / "app"], cwd=tmp_path, env=variables)

    assert place.startswith(str(context))
    (series,) = output.glob("2.25.*")
    assert len([pydicom.dcmread(file) for file in series.iterdir()]) == 5
