# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""A worker that is killed in each stage of one series: nothing is lost, and nothing is there twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import psutil
import pytest
import yaml

from tests.nsn2n.node.conftest import BRIEF
from tests.nsn2n.node.orthanc_server import OrthancServer, free_port, until

# Storing takes long, so that the kill comes between two instances; what storescu sends is not slowed down.
SLOW_STORE = """
function ReceivedInstanceFilter(dicom, origin, info)
  if origin["RequestOrigin"] == "RestApi" then os.execute("sleep 0.5") end
  return true
end
"""


@pytest.fixture
def start_node(tmp_path):
    """A function that starts the command as a process; those left are killed."""
    config, processes = tmp_path / "brief.yaml", []
    config.write_text(yaml.safe_dump(BRIEF))

    def start(server, *more):
        command = [
            sys.executable, "-m", "nsn2n", "node", "--orthanc", server.url, "--config", config, "--no-report",
            "--poll", "0.1", "--settle", "1", "--retry-wait", "0.2", "--work-folder", tmp_path / "work",
            "--listen", f"127.0.0.1:{free_port()}", *more,
        ]  # fmt: skip
        with (tmp_path / "node.log").open("ab") as log:
            processes.append(subprocess.Popen([*map(str, command)], stdout=log, stderr=log))
        return processes[-1]

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.wait(timeout=180)


def _kill(process):
    """Kill a worker, and wait until the processes that it began have noticed."""
    began = psutil.Process(process.pid).children(recursive=True)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=180)
    _, alive = psutil.wait_procs(began, timeout=30)
    assert not alive


@pytest.mark.slow
def test_a_worker_that_is_killed_in_each_stage(start_node, make_series, tmp_path):
    script = tmp_path / "slow.lua"
    script.write_text(SLOW_STORE)
    pacs = OrthancServer(tmp_path / "pacs", DicomAet="PACS")
    server = OrthancServer(
        tmp_path / "orthanc", DicomModalities={"pacs": ["PACS", "127.0.0.1", pacs.dicom]}, LuaScripts=[str(script)]
    ).start()
    try:
        node = start_node(server, "--send-to", "pacs")
        until(lambda: "following" in (tmp_path / "node.log").read_text())
        server.send(make_series("killed")[0].parent)
        _kill(node)  # before the series is stable
        assert server.states() == [""]

        node = start_node(server, "--send-to", "pacs")
        until(lambda: server.states() == ["processing"])
        _kill(node)

        node = start_node(server, "--send-to", "pacs")
        until(lambda: server.outputs())
        _kill(node)
        assert server.states() == ["uploading"]
        (half,) = server.outputs()
        assert len(half["Instances"]) < 3

        node = start_node(server, "--send-to", "pacs")
        until(lambda: [one for one in server.outputs() if one["mark"].get("tries")])
        _kill(node)
        assert server.states() == ["done"]

        pacs.start()
        node = start_node(server, "--send-to", "pacs")
        until(lambda: [one for one in server.outputs() if "sent" in one["mark"]])
        node.send_signal(signal.SIGTERM)
        assert node.wait(timeout=180) == 128 + signal.SIGTERM

        (source,), (output,), (arrived,) = server.sources(), server.outputs(), pacs.series().values()
        assert len(source["Instances"]) == len(output["Instances"]) == len(arrived["Instances"]) == 3
        assert output["ID"] == arrived["ID"] != half["ID"]
        assert source["state"]["tries"] == 3
        assert list((tmp_path / "work").iterdir()) == []
        log = (tmp_path / "node.log").read_text()
        assert "Traceback" not in log
        assert "PHANTOM" not in log
    finally:
        server.stop()
        pacs.stop()


@pytest.mark.slow
def test_a_worker_that_is_asked_to_stop_gives_its_series_back(start_node, make_series, orthanc, tmp_path):
    orthanc.send(make_series("stopped")[0].parent)
    node = start_node(orthanc)
    until(lambda: orthanc.states() == ["processing"])
    node.send_signal(signal.SIGTERM)

    assert node.wait(timeout=180) == 128 + signal.SIGTERM
    (source,) = orthanc.sources()
    assert source["state"]["state"] == "waiting"
    assert "tries" not in source["state"]
    assert list((tmp_path / "work").iterdir()) == []
