# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The container called as mercure's processor calls it: its folders, its environment, its user, no arguments."""

from __future__ import annotations

import json
import os


def test_a_task_of_mercure(docker, image, folders):
    source, output = folders
    settings = {
        "preset": "fast",
        "config": {"fit": {"steps": 3, "crop_px": 16}, "network": {"channels": 4, "levels": 2}},
    }
    (source / "task.json").write_text(json.dumps({"id": "1", "process": {"settings": settings}}))
    named = {
        "MERCURE_IN_DIR": "/tmp/data", "MERCURE_OUT_DIR": "/tmp/output",
        "MONAI_INPUTPATH": "/tmp/data", "MONAI_OUTPUTPATH": "/tmp/output",
        "HOLOSCAN_INPUT_PATH": "/tmp/data", "HOLOSCAN_OUTPUT_PATH": "/tmp/output",
    }  # fmt: skip

    result = docker(
        "run", "--rm", "--network", "none", "--user", f"{os.getuid()}:{os.getgid()}", "--group-add", os.getgid(),
        *(word for name, value in named.items() for word in ("--env", f"{name}={value}")),
        "--volume", f"{source}:/tmp/data:rw", "--volume", f"{output}:/tmp/output:rw", image, timeout=300,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    assert len(list(output.glob("*#*.dcm"))) == 5
    assert len(json.loads((output / "result.json").read_text())["written"]) == 1


def test_the_node_starts_in_the_container(docker, image):
    result = docker(
        "run", "--rm", "--network", "none", "--entrypoint", "python3", image, "-m", "nsn2n", "node", "--help"
    )

    assert result.returncode == 0, result.stderr
    assert "--orthanc" in result.stdout
