# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The node in the container, as confined as deploy/orthanc/compose.yaml has it, beside a real Orthanc."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.nsn2n.node.conftest import BRIEF
from tests.nsn2n.node.orthanc_server import OrthancServer, free_port, until

ROOT = Path(__file__).resolve().parents[2]
COMPOSE = yaml.safe_load((ROOT / "deploy" / "orthanc" / "compose.yaml").read_text(encoding="utf-8"))
SERVICE = COMPOSE["services"]["nsn2n"]
PASSWORD = "of-this-test-alone"


@pytest.mark.slow
def test_a_series_comes_back_from_the_container(docker, image, folders, tmp_path):
    source, _ = folders
    (tmp_path / "brief.yaml").write_text(yaml.safe_dump(BRIEF))
    server = OrthancServer(
        tmp_path / "orthanc", AuthenticationEnabled=True, RegisteredUsers={"node": PASSWORD},
    ).start()  # fmt: skip
    # What is not of the container itself: where Orthanc is, and how long to wait.
    other = {"--orthanc": server.url, "--listen": f"127.0.0.1:{free_port()}", "--send-to": None}
    given = [word for word in SERVICE["command"] if word.split("=")[0] not in other]
    given += [f"{name}={value}" for name, value in other.items() if value]
    name = f"nsn2n-node-{server.http}"
    options = [
        "--network", "host", "--user", SERVICE["user"], "--read-only", "--cap-drop", *SERVICE["cap_drop"],
        "--security-opt", "no-new-privileges", "--memory", SERVICE["mem_limit"], "--pids-limit", SERVICE["pids_limit"],
        *(word for place in SERVICE["tmpfs"] for word in ("--tmpfs", place)),
        "--env", "NSN2N_ORTHANC_USER=node", "--env", f"NSN2N_ORTHANC_PASSWORD={PASSWORD}",
        "--volume", f"{tmp_path / 'brief.yaml'}:/brief.yaml:ro", "--entrypoint", SERVICE["entrypoint"][0],
    ]  # fmt: skip
    try:
        server.send(source)
        started = docker(
            "run", "--detach", "--name", name, *options, image, *SERVICE["entrypoint"][1:], *given,
            "--settle=1", "--poll=0.2", "--config=/brief.yaml",
        )  # fmt: skip
        assert started.returncode == 0, started.stderr
        client = server.client(credentials=("node", PASSWORD))
        until(lambda: len(client.list_series(0, 10)) == 2)
        until(lambda: any('"done"' in (client.metadata(one.id, 1024) or "") for one in client.list_series(0, 10)))
        # SIGTERM arrives at it, and it ends by itself.
        stopped = docker("stop", "--time", 30, name)
        assert stopped.returncode == 0
        code = docker("inspect", "--format", "{{.State.ExitCode}}", name).stdout.strip()
        assert code == "143", docker("logs", name).stderr
    finally:
        subprocess.run(["docker", "rm", "--force", name], capture_output=True, timeout=60, check=False)
        server.stop()
