# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The pods of deploy/ run by a container engine, with the settings that it shares with Kubernetes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from nsn2n.dicom.selection.scan import scan_folder

ROOT = Path(__file__).resolve().parents[2]
SETTINGS = "nsn2n: {preset: fast, config: {fit: {steps: 3, crop_px: 16}, network: {channels: 4, levels: 2}}}\n"


def _kubernetes():
    job, _ = yaml.safe_load_all((ROOT / "deploy" / "kubernetes" / "job.yaml").read_text())
    pod = job["spec"]["template"]["spec"]
    return pod, pod["containers"][0]


def _argo():
    template, _ = yaml.safe_load_all((ROOT / "deploy" / "argo" / "workflow-template.yaml").read_text())
    (step,) = template["spec"]["templates"]
    # Argo mounts each input artifact at its path.
    step["container"]["volumeMounts"] += [
        {"name": artifact["name"], "mountPath": artifact["path"]} for artifact in step["inputs"]["artifacts"]
    ]
    return step, step["container"]


def _options(pod, container, places):
    """Options of docker that do what the pod asks for; its volumes are in the places named by where they appear."""
    user, rights, limits = pod["securityContext"], container["securityContext"], container["resources"]["limits"]
    options = ["--network", "none", "--user", f"{user['runAsUser']}:{user['runAsGroup']}"]
    options += ["--cpus", limits["cpu"], "--memory", limits["memory"].removesuffix("i")]
    options += ["--read-only"] if rights["readOnlyRootFilesystem"] else []
    options += [] if rights["allowPrivilegeEscalation"] else ["--security-opt", "no-new-privileges"]
    options += [word for name in rights["capabilities"]["drop"] for word in ("--cap-drop", name)]
    sizes = {volume["name"]: volume.get("emptyDir", {}).get("sizeLimit") for volume in pod["volumes"]}
    for mount in container["volumeMounts"]:
        path = mount["mountPath"]
        if path in places:
            options += ["--volume", f"{places[path]}:{path}" + (":ro" if mount.get("readOnly") else "")]
        else:
            options += ["--tmpfs", f"{path}:size={sizes[mount['name']].removesuffix('i')}"]
    return options


@pytest.mark.parametrize("read", [_kubernetes, _argo])
def test_pod_denoises(read, folders, docker, image):
    pod, container = read()
    source, output = folders
    settings = source.parent / "app.yaml"
    settings.write_text(SETTINGS)
    options = _options(pod, container, {"/var/holoscan/input": source, "/var/holoscan/output": output})
    brief = ("--volume", f"{settings}:/var/holoscan/app.yaml:ro")
    command = container.get("command", [])
    entrypoint = ["--entrypoint", command[0]] if command else []

    result = docker("run", "--rm", *options, *brief, *entrypoint, image, *command[1:])

    assert result.returncode == 0, result.stderr
    assert len(scan_folder(output).series) == 1


def test_command_of_argo_is_the_entrypoint_of_the_image(docker, image):
    _, container = _argo()

    (inspected,) = json.loads(docker("image", "inspect", image).stdout)

    assert container["command"] == inspected["Config"]["Entrypoint"]
