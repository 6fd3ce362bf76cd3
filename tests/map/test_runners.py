# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The container as XNAT's Container Service and the docker task of MONAI Deploy Express start it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from nsn2n._version import __version__

ROOT = Path(__file__).resolve().parents[2]
(COMMAND,) = json.loads((ROOT / "deploy" / "xnat" / "command.json").read_text(encoding="utf-8"))
WORKFLOW = json.loads((ROOT / "deploy" / "express" / "workflow.json").read_text(encoding="utf-8"))

# Of https://wiki.xnat.org/container-service: what a command may have, and what its parts refer to each other by.
COMMAND_FIELDS = {
    "name", "label", "description", "version", "schema-version", "type", "info-url", "image", "index", "hash",
    "working-directory", "command-line", "reserve-memory", "limit-memory", "limit-cpu", "override-entrypoint",
    "mounts", "environment-variables", "ports", "inputs", "outputs", "xnat",
}  # fmt: skip


def test_the_command_for_xnat_refers_to_what_it_has():
    assert set(COMMAND) <= COMMAND_FIELDS
    assert (COMMAND["schema-version"], COMMAND["type"]) == ("1.0", "docker")
    assert (COMMAND["version"], COMMAND["image"]) == (__version__, f"nsn2n:{__version__}")
    mounts = {mount["name"]: mount for mount in COMMAND["mounts"]}
    (output,), (wrapper,) = COMMAND["outputs"], COMMAND["xnat"]
    assert mounts[output["mount"]]["writable"] is True
    (scan,), (dicom,), (handler,) = (wrapper[part] for part in ("external-inputs", "derived-inputs", "output-handlers"))
    assert dicom["derived-from-wrapper-input"] == handler["as-a-child-of-wrapper-input"] == scan["name"]
    assert mounts[dicom["provides-files-for-command-mount"]]["writable"] is False
    assert handler["accepts-command-output"] == output["name"]


def test_the_image_has_the_command_for_xnat_which_works(docker, image, folders):
    source, output = folders
    labels = json.loads(docker("image", "inspect", "--format", "{{json .Config.Labels}}", image).stdout)
    assert json.loads(labels["org.nrg.commands"]) == [COMMAND]

    places = {"input": f"{source}:/input:ro", "output": f"{output}:/output"}
    assert {name: place.split(":")[1] for name, place in places.items()} == {
        mount["name"]: mount["path"] for mount in COMMAND["mounts"]
    }
    program, *arguments = shlex.split(COMMAND["command-line"])
    result = docker(
        "run", "--rm", "--network", "none", *(word for place in places.values() for word in ("--volume", place)),
        "--entrypoint", program, image, *arguments, timeout=300,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert len(list(output.glob("2.25.*/*.dcm"))) == 5


def test_the_docker_task_of_express(docker, image, folders):
    source, output = folders
    (task,) = [task for task in WORKFLOW["tasks"] if task["type"] == "docker"]
    args = task["args"]
    assert args["container_image"].startswith(f"REGISTRY/nsn2n:{__version__}@")
    environment = {name.removeprefix("env_"): value for name, value in args.items() if name.startswith("env_")}
    (taken,), (given,) = task["artifacts"]["input"], task["artifacts"]["output"]
    mounts = {source: args[taken["name"]], output: args[given["name"]]}
    entrypoint, *first = args["entrypoint"].split(",")

    result = docker(
        "run", "--rm", "--network", "none", "--user", args["user"],
        *(word for name, value in environment.items() for word in ("--env", f"{name}={value}")),
        *(word for here, there in mounts.items() for word in ("--volume", f"{here}:{there}")),
        "--entrypoint", entrypoint, image, *first, args["command"], timeout=300,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert len(list(output.glob("2.25.*/*.dcm"))) == 5


def test_what_the_task_of_express_made_is_exported():
    (task, export) = WORKFLOW["tasks"]
    assert [place["name"] for place in task["task_destinations"]] == [export["id"]]
    (given,), (exported,) = task["artifacts"]["output"], export["artifacts"]["input"]
    assert exported["value"] == f"{{{{ context.executions.{task['id']}.artifacts.{given['name']} }}}}"
    allowed = WORKFLOW["informatics_gateway"]["export_destinations"]
    assert [place["Name"] for place in export["export_destinations"]] == allowed
