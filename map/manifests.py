# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""Writes app.json and pkg.json of the package from app.yaml, as the packager of MONAI Deploy would.

python manifests.py app.yaml models /etc/holoscan [--gpu 1 --gpu-memory 4Gi]
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

API_VERSION = "1.0.0"
SDK_DISTRIBUTION = "monai-deploy-app-sdk"
WORKDIR = "/var/holoscan"
APPLICATION_ROOT = "/opt/holoscan/app"
MODEL_ROOT = "/opt/holoscan/models"

# Relative to the working directory, as in the packager.
INPUT_PATH = "input/"
OUTPUT_PATH = "output/"
NO_TIMEOUT_S = 0

ENVIRONMENT: Mapping[str, str] = {
    "HOLOSCAN_APPLICATION": APPLICATION_ROOT,
    "HOLOSCAN_INPUT_PATH": INPUT_PATH,
    "HOLOSCAN_OUTPUT_PATH": OUTPUT_PATH,
    "HOLOSCAN_WORKDIR": WORKDIR,
    "HOLOSCAN_MODEL_PATH": MODEL_ROOT,
    "HOLOSCAN_CONFIG_PATH": f"{WORKDIR}/app.yaml",
    "HOLOSCAN_APP_MANIFEST_PATH": "/etc/holoscan/app.json",
    "HOLOSCAN_PKG_MANIFEST_PATH": "/etc/holoscan/pkg.json",
    "HOLOSCAN_DOCS_PATH": "/opt/holoscan/docs",
    "HOLOSCAN_LOGS_PATH": f"{WORKDIR}/logs",
    # The specification requires it; the packager sets it in the image only.
    "HOLOSCAN_TIMEOUT": str(NO_TIMEOUT_S),
}


def app_manifest(config: Mapping[str, Any], sdk_version: str) -> dict[str, Any]:
    """Return the content of app.json.

    Parameters
    ----------
    config : mapping
        Content of app.yaml.
    sdk_version : str
        Of monai-deploy-app-sdk.

    Raises
    ------
    KeyError
        If the section ``application`` lacks its version or formats.
    """
    application = config["application"]
    return {
        "apiVersion": API_VERSION,
        "command": json.dumps(["python3", APPLICATION_ROOT]),
        "environment": dict(ENVIRONMENT),
        "input": {"path": INPUT_PATH, "formats": application["input-formats"]},
        "liveness": None,
        "output": {"path": OUTPUT_PATH, "formats": application["output-formats"]},
        "readiness": None,
        "sdk": "monai-deploy",
        "sdkVersion": sdk_version,
        "timeout": NO_TIMEOUT_S,
        "version": application["version"],
        "workingDirectory": WORKDIR,
    }


def package_manifest(config: Mapping[str, Any], models: Iterable[str]) -> dict[str, Any]:
    """Return the content of pkg.json.

    Parameters
    ----------
    config : mapping
        Content of app.yaml.
    models : iterable of str
        Names of the folders in the model root.

    Raises
    ------
    KeyError
        If app.yaml has no section ``resources``, or no version of the application.
    """
    return {
        "apiVersion": API_VERSION,
        "applicationRoot": APPLICATION_ROOT,
        "modelRoot": MODEL_ROOT,
        "models": {name: f"{MODEL_ROOT}/{name}" for name in sorted(models)},
        "resources": dict(config["resources"]),
        "version": config["application"]["version"],
        # The packager's term for x86-64 with or without a discrete GPU.
        "platformConfig": "dgpu",
    }


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description="Write app.json and pkg.json.")
    parser.add_argument("config", type=Path, help="app.yaml")
    parser.add_argument("models", type=Path, help="folder with one folder for each model")
    parser.add_argument("target", type=Path, help="existing folder for the two files")
    parser.add_argument("--gpu", type=int, help="number of GPUs, instead of that of app.yaml")
    parser.add_argument("--gpu-memory", help="GPU memory, instead of that of app.yaml")
    options = parser.parse_args()
    config = yaml.safe_load(options.config.read_text(encoding="utf-8"))
    for key, value in {"gpu": options.gpu, "gpuMemory": options.gpu_memory}.items():
        if value:
            config["resources"][key] = value
    contents = {
        "app.json": app_manifest(config, version(SDK_DISTRIBUTION)),
        "pkg.json": package_manifest(config, [path.name for path in options.models.iterdir() if path.is_dir()]),
    }
    for name, content in contents.items():
        (options.target / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
