# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The manifests are those that the packager of MONAI Deploy would write."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml
from holoscan_cli.common.enum_types import SdkType
from holoscan_cli.packager.config_reader import ApplicationConfiguration
from holoscan_cli.packager.models import Models
from holoscan_cli.packager.parameters import PackageBuildParameters

ROOT = Path(__file__).resolve().parents[2]


def _write(folder, *options):
    command = [sys.executable, ROOT / "map" / "manifests.py", ROOT / "app.yaml", ROOT / "models", folder, *options]
    subprocess.run([str(word) for word in command], check=True, timeout=60)
    return [json.loads((folder / name).read_text()) for name in ("app.json", "pkg.json")]


@pytest.fixture
def official():
    """Both manifests, as the packager leaves them when it calls `docker buildx build`."""
    parameters = PackageBuildParameters()
    parameters.application = ROOT / "app"
    parameters.models = Models().build(ROOT / "models")
    configuration = ApplicationConfiguration()
    configuration.read(ROOT / "app.yaml")
    app, package = (
        configuration.populate_app_manifest(parameters),
        configuration.populate_package_manifest(parameters),
    )
    app.sdk = SdkType.MonaiDeploy.value
    app.sdk_version = version("monai-deploy-app-sdk")
    package.platform_config = "dgpu"
    return app.data, package.data


def test_app_manifest_is_that_of_the_packager(tmp_path, official):
    ours, _ = _write(tmp_path)

    # The specification names this variable; the packager sets it in the image only.
    assert ours["environment"].pop("HOLOSCAN_TIMEOUT") == str(ours["timeout"]) == "0"
    assert ours == official[0]
    assert ours["input"]["formats"] == ours["output"]["formats"] == ["file"]


def test_package_manifest_is_that_of_the_packager(tmp_path, official):
    _, ours = _write(tmp_path)

    assert ours == official[1]
    assert ours["models"] == {"nsn2n": "/opt/holoscan/models/nsn2n"}
    assert ours["resources"] == yaml.safe_load((ROOT / "app.yaml").read_text())["resources"]


def test_gpu_variant_asks_for_one(tmp_path, official):
    _, ours = _write(tmp_path, "--gpu", "1", "--gpu-memory", "8Gi")

    expected = official[1]
    expected["resources"] |= {"gpu": 1, "gpuMemory": "8Gi"}
    assert ours == expected


def test_image_has_the_variables_of_the_manifest(tmp_path):
    """What the Dockerfile sets is what app.json says; there its two folders are relative to the working one."""
    environment = _write(tmp_path)[0]["environment"]
    lines = (ROOT / "Dockerfile").read_text().replace("\\\n", " ").split()
    in_image = dict(word.split("=", 1) for word in lines if word.startswith("HOLOSCAN_"))

    for name in ("HOLOSCAN_INPUT_PATH", "HOLOSCAN_OUTPUT_PATH"):
        environment[name] = str(Path(environment["HOLOSCAN_WORKDIR"], environment[name]))
    assert in_image == environment
