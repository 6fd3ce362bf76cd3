# Copyright 2026 The nsn2n authors
# SPDX-License-Identifier: Apache-2.0
"""The compose file and Orthanc's configuration beside it, which a real Orthanc is started with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import requests
import yaml
from typer.main import get_command

from nsn2n._version import __version__
from nsn2n.cli.main import app
from nsn2n.synthetic.dicom_series import write_synthetic_series
from tests.nsn2n.node.orthanc_server import TIMEOUT_S, OrthancServer, require_orthanc

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "orthanc"
COMPOSE = yaml.safe_load((FOLDER / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
PASSWORD = "of-this-test-alone"


def _settings():
    """The configuration, which has comments that JSON has not."""
    text = (FOLDER / "orthanc.json").read_text(encoding="utf-8")
    return json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.MULTILINE))


def test_there_are_two_services_each_confined():
    assert set(SERVICES) == {"orthanc", "nsn2n"}
    for service in SERVICES.values():
        assert service["image"].endswith("@sha256:DIGEST")
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert {"mem_limit", "cpus", "pids_limit"} <= set(service)
    assert f"nsn2n:{__version__}@" in SERVICES["nsn2n"]["image"]
    assert "ports" not in SERVICES["nsn2n"]
    assert [COMPOSE["networks"][name] for name in SERVICES["nsn2n"]["networks"]] == [{"internal": True}]
    assert SERVICES["orthanc"]["ports"] == ["4242:4242", "127.0.0.1:8042:8042"]


def test_there_is_no_default_password():
    for service in SERVICES.values():
        given = service["environment"]["NSN2N_ORTHANC_PASSWORD"]
        assert re.fullmatch(r"\$\{NSN2N_ORTHANC_PASSWORD:\?[^}]+\}", given)
    assert _settings()["RegisteredUsers"] == {"node": "${NSN2N_ORTHANC_PASSWORD}"}


def test_the_node_takes_its_options():
    service = SERVICES["nsn2n"]
    assert service["entrypoint"] == ["python3", "-m", "nsn2n", "node"]
    given = get_command(app).commands["node"].make_context("node", list(service["command"])).params

    assert given["send_to"] in _settings()["DicomModalities"]
    assert str(given["work_folder"]) in [entry.split(":")[0] for entry in service["tmpfs"]]
    assert given["orthanc"] == f"http://orthanc:{_settings()['HttpPort']}"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """Orthanc with this configuration, but for ports, folders and the addresses of the modalities."""
    monkeypatch.setenv("NSN2N_ORTHANC_PASSWORD", PASSWORD)
    settings = _settings()
    for modality in settings["DicomModalities"].values():
        modality["Host"] = "127.0.0.1"
    here = ("StorageDirectory", "IndexDirectory", "HttpPort", "DicomPort")
    made = OrthancServer(tmp_path / "orthanc", **{key: value for key, value in settings.items() if key not in here})
    yield made.start()
    made.stop()


def test_only_those_on_the_lists_are_let_in(server, tmp_path):
    (file,) = write_synthetic_series([[[1, 2], [3, 4]]], tmp_path / "sent")

    def store(calling, called):
        command = ["storescu", "-aet", calling, "-aec", called, "127.0.0.1", str(server.dicom), str(file)]
        return subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)

    assert store("SCANNER", "NSN2N").returncode == 0
    for calling, called, why in (("OTHER", "NSN2N", "Calling AE"), ("SCANNER", "ORTHANC", "Called AE")):
        refused = store(calling, called)
        assert refused.returncode != 0
        assert f"{why} Title Not Recognized" in refused.stderr
    find = ["findscu", "-S", "-aet", "PACS", "-aec", "NSN2N", "-k", "QueryRetrieveLevel=STUDY"]
    asked = subprocess.run(
        [*find, "127.0.0.1", str(server.dicom)], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
    )
    assert "Peer aborted Association" in asked.stderr

    def status(**more):
        return requests.get(f"{server.url}/series", timeout=TIMEOUT_S, **more).status_code

    assert status() == 401
    assert status(auth=("node", "node")) == 401
    assert status(auth=("node", "${NSN2N_ORTHANC_PASSWORD}")) == 401
    assert status(auth=("node", PASSWORD)) == 200
    assert status(auth=("orthanc", "orthanc")) == 401  # Orthanc's own default


@pytest.mark.slow
def test_the_demonstration_brings_the_series_back(tmp_path):
    require_orthanc()
    result = subprocess.run(
        [sys.executable, FOLDER / "demo.py", tmp_path / "out"],
        cwd=ROOT, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip

    assert result.returncode == 0, result.stderr
    sent, back = map(float, re.findall(r"noise sd in soft tissue ([\d.]+) HU", result.stdout))
    assert back < 0.5 * sent
    assert len(list((tmp_path / "out" / "back").iterdir())) == 8
